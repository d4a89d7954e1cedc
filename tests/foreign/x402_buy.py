"""Buys over x402 with the reference client: x402_buy.py METHOD URL [BODY]

The payer's key is in the environment's STENCIL_TEST_KEY.
"""

import asyncio
import base64
import json
import os
import sys

from eth_account import Account
from x402 import x402Client
from x402.http.clients import wrapHttpxWithPayment
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact.register import register_exact_evm_client


async def main() -> None:
    method, url, *body = sys.argv[1:]
    account = Account.from_key(os.environ["STENCIL_TEST_KEY"])
    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(account))
    # By itself it pays in tokens that it knows: the dev chain's is none of them.
    client.set_spend_controls({"allowed_assets": True})
    async with wrapHttpxWithPayment(client, timeout=60) as http:
        content = body[0] if body else None
        headers = {"content-type": "application/json"} if body else {}
        response = await http.request(method, url, content=content, headers=headers)
        settled = response.headers.get("PAYMENT-RESPONSE")
        print(
            json.dumps(
                {
                    "status": response.status_code,
                    "body": response.json() if response.content else None,
                    "settled": json.loads(base64.b64decode(settled)) if settled else None,
                    "payer": account.address,
                }
            )
        )


asyncio.run(main())
