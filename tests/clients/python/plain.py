"""Clients that know nothing of Zoho's SDKs: requests, and httpx over HTTP/1.1 and HTTP/2."""

import io
import os
import sys

import httpx
import requests

import trap

SIDECAR = os.environ["SIDECAR"]
COUNT = "/crm/v8/settings/territories/actions/associated_users_count"
FORM = {"grant_type": "refresh_token", "refresh_token": "1000.made-up", "client_id": "1000.MADEUP"}


def converse(client, version=None):
    """What both libraries write alike."""

    def got(answer, status=200):
        assert answer.status_code == status, f"{answer.status_code} {answer.text}"
        assert version is None or answer.http_version == version, answer.http_version
        return answer

    token = got(client.post(SIDECAR + "/oauth/v2/token", data=FORM)).json()
    assert token["api_domain"] == SIDECAR, token
    authorization = {"Authorization": f"Zoho-oauthtoken {token['access_token']}"}
    first = got(client.get(SIDECAR + COUNT, headers=authorization))
    second = got(client.get(SIDECAR + COUNT, headers=authorization))
    assert "; hit" in second.headers["Cache-Status"], second.headers["Cache-Status"]
    assert second.content == first.content and second.json()["associated_users_count"]
    unchanged = got(client.get(SIDECAR + COUNT, headers={"If-None-Match": second.headers["ETag"]}), 304)
    assert unchanged.content == b""

    body = {"data": [{"Last_Name": "Made-Up"}]}
    made = got(client.post(SIDECAR + "/crm/v8/Leads", json=body), 201).json()["data"][0]["details"]["id"]
    lead = f"{SIDECAR}/crm/v8/Leads/{made}"
    assert got(client.get(lead)).json()["data"][0]["Last_Name"] == "Made-Up"
    got(client.delete(lead))
    got(client.get(lead), 204)

    content = bytes(range(256)) * 4096
    uploaded = got(client.post(SIDECAR + "/crm/v8/files", files={"file": ("made up.bin", io.BytesIO(content))}))
    file = uploaded.json()["data"][0]["details"]["id"]
    assert got(client.get(SIDECAR + "/crm/v8/files", params={"id": file})).content == content

    refused = got(client.get(SIDECAR + "/tenants/nobody/crm/v8/org"), 404).json()
    assert refused["code"] == "SIDECAR_TENANT_UNKNOWN", refused


CLIENTS = {
    "requests": lambda: converse(requests.Session()),
    "httpx": lambda: converse(httpx.Client(), "HTTP/1.1"),
    "httpx-h2": lambda: converse(httpx.Client(http1=False, http2=True), "HTTP/2"),
}

CLIENTS[sys.argv[1]]()
trap.check()
