"""The SDK before the versions that sdk.py runs: zcrmsdk 2.0, with a grant code, as its user writes it.

It asks the accounts server whose the token is, and keeps it under that address; its user names the same address.
"""

import os

import trap
from zcrmsdk import ZCRMRestClient, ZohoOAuth

SIDECAR = os.environ["SIDECAR"]
EMAIL = os.environ["EMAIL"]

ZCRMRestClient.initialize(
    {
        "client_id": "1000.MADEUP",
        "client_secret": "made-up-secret",
        "redirect_uri": "http://localhost/",
        "accounts_url": SIDECAR,
        "apiBaseUrl": SIDECAR,
        "token_persistence_path": os.getcwd(),
        "currentUserEmail": EMAIL,
    }
)
tokens = ZohoOAuth.get_client_instance().generate_access_token("1000.made-up-code")
assert tokens.userEmail == EMAIL, tokens.userEmail

answer = ZCRMRestClient.get_instance().get_current_user()
assert answer.data[0].email == EMAIL, vars(answer.data[0])
trap.check()
