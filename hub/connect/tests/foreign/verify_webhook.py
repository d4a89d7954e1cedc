"""Verifies a webhook with the library of the Standard Webhooks project.

    verify_webhook.py

Standard input is JSON: `{"secret": …, "headers": {…}, "body": …}`. Exit 0: it is signed with the
secret; 3: it is not.
"""
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

asked = json.load(sys.stdin)
try:
    print(json.dumps(Webhook(asked["secret"]).verify(asked["body"], asked["headers"])))
except WebhookVerificationError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
