"""zohocrmapi, a client that is not Zoho's: it exchanges a code by a form, and renews by a query without a body."""

import os

import trap
import zohocrm

SIDECAR = os.environ["SIDECAR"]

zohocrm.ZohoCRMRestClient.api_base_url = SIDECAR
zohocrm.ZohoCRMRestClient.accounts_url = SIDECAR
client = zohocrm.ZohoCRMRestClient("1000.MADEUP", "made-up-secret", "https://made-up.example/")

token = client.generate_access_token("1000.made-up-code")
assert token.api_domain == SIDECAR and token.refresh_token and not token.is_expired(), token.to_json()
renewed = client.generate_refresh_token()
assert client.is_logged_in(renewed), renewed.to_json()

contact = zohocrm.ZohoCRMContact(client)
contact.Last_Name = "Made-Up"
contact.save()
assert zohocrm.ZohoCRMContact.fetch(client, contact.id).Last_Name == "Made-Up"
contact.delete()
counts = client.api_fetch("settings/territories/actions/associated_users_count")
assert counts.status_code == 200 and counts.json()["associated_users_count"], counts.text
trap.check()
