"""An OPC UA server by asyncua that does as it is told.

    opcua_peer.py FOLDER

It writes `server.pem` and `other.pem`, two certificates of its own, into FOLDER. The first line of
its output is JSON with the `url`. Then it reads commands from standard input, a line of JSON each,
and answers each with a line of JSON:

    {"set": [name, value, type, {"source_ms": …, "server_ms": …, "status": name}]}
        a value of the node `ns=2;s=NAME`, made if it is missing; times are Unix milliseconds, null
        for none
    {"cut": true}         ends all connections at once; sessions live on
    {"listen": false}     ends all connections, and takes none
    {"restart": true}     forgets sessions, subscriptions and values, on the same port
    {"slow": ms}          how long each answer takes from now on
    {"certificate": "other.pem"}   which certificate it has after the next restart
    {"filters": false}    refuses filters of monitored items from now on
    {"count": true}       how many sessions and subscriptions there are, how many values were read,
                          the filters and sampling intervals of monitored items

User `ann` has the password `hunter2 but longer`. It ends when its standard input does.
"""
import asyncio
import datetime
import json
import logging
import os
import socket
import sys

from asyncua import Server, ua
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key
from asyncua.crypto.cert_gen import generate_self_signed_app_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server import internal_session, monitored_item_service, uaprocessor
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

logging.disable(logging.CRITICAL)

NAMESPACE = "urn:stencil:test"
folder = sys.argv[1]
state = {"slow": 0, "certificate": "server.pem", "filters": True, "reads": 0, "created": []}
server = None
nodes = {}


def say(**answer):
    print(json.dumps(answer), flush=True)


def path(name):
    return os.path.join(folder, name)


def make(name):
    key = generate_private_key()
    names = [x509.UniformResourceIdentifier("urn:stencil:test:server"), x509.DNSName("localhost")]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH]
    certificate = generate_self_signed_app_certificate(key, name, {}, names, usage)
    with open(path(name + ".pem"), "wb") as file:
        file.write(certificate.public_bytes(Encoding.PEM))
    with open(path(name + ".key"), "wb") as file:
        file.write(dump_private_key_as_pem(key))


class Users:
    def get_user(self, _server, username=None, password=None, certificate=None):
        if username is None:
            return User(role=UserRole.User, name="anybody")
        if username == "ann" and password == "hunter2 but longer":
            return User(role=UserRole.User, name="ann")
        return None


def slow_down():
    process = uaprocessor.UaProcessor.process_message

    async def slowly(self, seqhdr, body):
        if state["slow"]:
            await asyncio.sleep(state["slow"] / 1000)
        return await process(self, seqhdr, body)

    uaprocessor.UaProcessor.process_message = slowly
    read = internal_session.InternalSession.read

    async def counted(self, params):
        if self.external:
            ids = [one.NodeId for one in params.NodesToRead]
            state["reads"] += sum(1 for one in ids if one.NamespaceIndex == 2)
        return await read(self, params)

    internal_session.InternalSession.read = counted
    create = monitored_item_service.MonitoredItemService._create_data_change_monitored_item

    async def choosy(self, params):
        asked = params.RequestedParameters
        if not state["filters"] and getattr(asked.Filter, "Trigger", None) is not None:
            result = ua.MonitoredItemCreateResult()
            code = ua.StatusCodes.BadMonitoredItemFilterUnsupported
            result.StatusCode = ua.StatusCode(code)
            return result
        deadband = getattr(asked.Filter, "DeadbandValue", None)
        state["created"].append([asked.SamplingInterval, asked.QueueSize, deadband])
        return await create(self, params)

    monitored_item_service.MonitoredItemService._create_data_change_monitored_item = choosy


async def start(port):
    global server
    server = Server(user_manager=Users())
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/line")
    await server.set_application_uri("urn:stencil:test:server")
    server.set_security_policy(
        [
            ua.SecurityPolicyType.NoSecurity,
            ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
            ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
        ]
    )
    await server.load_certificate(path(state["certificate"]))
    await server.load_private_key(path(state["certificate"].replace(".pem", ".key")), format="pem")
    await server.register_namespace(NAMESPACE)
    nodes.clear()
    await server.start()


def time(ms):
    if ms is None:
        return None
    moment = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
    return moment.replace(tzinfo=None)


async def put(name, value, kind, options):
    kind = ua.VariantType[kind]
    if name not in nodes:
        node_id = ua.NodeId(name, 2)
        first = ua.Variant(value, kind)
        nodes[name] = await server.nodes.objects.add_variable(node_id, name, first)
    now = datetime.datetime.now(datetime.timezone.utc).timestamp() * 1000
    data = ua.DataValue(
        ua.Variant(value, kind),
        ua.StatusCode(getattr(ua.StatusCodes, options.get("status", "Good"))),
        time(options.get("source_ms", now)),
        time(options.get("server_ms", now)),
    )
    await server.write_attribute_value(nodes[name].nodeid, data)


def cut():
    for client in list(server.bserver.clients):
        client.transport.abort()


async def main():
    for name in ("server", "other"):
        make(name)
    slow_down()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    await start(port)
    say(url=f"opc.tcp://127.0.0.1:{port}/line")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer = None
        if "set" in command:
            await put(*command["set"])
        elif "cut" in command:
            cut()
        elif "listen" in command:
            if command["listen"]:
                bserver = server.bserver
                bserver._server = await loop.create_server(
                    bserver._make_protocol, bserver.hostname, bserver.port
                )
            else:
                server.bserver._server.close()
                cut()
        elif "restart" in command:
            await server.stop()
            await start(port)
        elif "slow" in command:
            state["slow"] = command["slow"]
        elif "certificate" in command:
            state["certificate"] = command["certificate"]
        elif "filters" in command:
            state["filters"] = command["filters"]
        elif "count" in command:
            service = server.iserver.subscription_service
            answer = {
                "subscriptions": len(service.subscriptions),
                "reads": state["reads"],
                "created": state["created"],
            }
        say(done=answer)
    os._exit(0)


asyncio.run(main())
