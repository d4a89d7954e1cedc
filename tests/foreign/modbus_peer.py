"""Modbus devices by pymodbus, over TCP or on a serial line, that do as they are told.

    modbus_peer.py tcp | rtu

The first line of its output is JSON with the `port`, or the `path` of a pseudo-terminal that is the
other end of the line. Then it reads commands from standard input, a line of JSON each, and answers
each with a line of JSON:

    {"set": [unit, function, address, [values]]}   registers or bits, function 1 to 4
    {"mode": [unit, mode, argument]}                how the unit behaves from now on:
        "ok" | "slow" ms | "silent" | "exception" code | "garbage" | "short" | "unit" number
        | "function" number | "close"
    {"listen": false}                               refuse connections and end those there are
    {"requests": unit}                              how many requests it has had
    {"noise": "hex"}                                bytes that nobody has asked for, on the line

Units 1 to 3 have coils and discrete inputs 0 to 31, holding registers 0 to 99 and 200 to 249, input
registers 0 to 99. It ends when its standard input does.
"""
import asyncio
import json
import os
import sys
import tty

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

UNITS = (1, 2, 3)

modes = {}
values = []
requests = {}
asked = {"unit": 0}
server = None
loop = None
line = None


def say(**answer):
    print(json.dumps(answer), flush=True)


def device(unit):
    async def action(function, _start, _address, _count, _registers, values):
        if values is not None:
            return None
        mode, argument = modes.get(unit, ("ok", None))
        if mode == "slow":
            await asyncio.sleep(argument / 1000)
        if mode == "exception":
            return ExcCodes(argument)
        return None

    bits = lambda: [SimData(0, values=[False] * 32, datatype=DataType.BITS)]
    registers = lambda at, count: SimData(at, count=count, values=0, datatype=DataType.REGISTERS)
    blocks = (bits(), bits(), [registers(0, 100), registers(200, 50)], [registers(0, 100)])
    return SimDevice(id=unit, simdata=blocks, action=action)


def pdu(sending, pdu):
    """Counts what comes, and remembers of whom the answer is."""
    if not sending:
        requests[pdu.dev_id] = requests.get(pdu.dev_id, 0) + 1
    asked["unit"] = pdu.dev_id
    return pdu


def packet(is_tcp):
    """Changes what is sent."""

    def change(sending, data):
        if not sending:
            return data
        # The others are not there.
        default = ("ok", None) if asked["unit"] in UNITS else ("silent", None)
        mode, argument = modes.get(asked["unit"], default)
        head, body = (data[:6], data[6:]) if is_tcp else (b"", data[:-2])
        if mode == "silent":
            return b""
        if mode == "garbage":
            return bytes((n * 37 + 11) % 256 for n in range(48))
        if mode == "close":
            loop.call_soon(server.active.close)
            return b""
        if mode == "short":
            body = body[:2] + bytes([body[2] - 2]) + body[3:-2]
        if mode == "unit":
            body = bytes([argument]) + body[1:]
        if mode == "function":
            body = body[:1] + bytes([argument]) + body[2:]
        if is_tcp:
            return head[:4] + len(body).to_bytes(2, "big") + body
        return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")

    return change


async def listen(port):
    global server
    context = [device(unit) for unit in UNITS]
    if sys.argv[1] == "tcp":
        server = ModbusTcpServer(
            context, address=("127.0.0.1", port), trace_packet=packet(True), trace_pdu=pdu
        )
        make = server.callback_new_connection

        def remember():
            server.active = make()
            return server.active

        server.callback_new_connection = remember
    else:
        server = ModbusSerialServer(
            context,
            framer=FramerType.RTU,
            port=line["path"],
            baudrate=19200,
            ignore_missing_devices=True,
            trace_packet=packet(False),
            trace_pdu=pdu,
        )
    await server.serve_forever(background=True)
    for one in values:
        await put(*one)


async def put(unit, function, address, content):
    # Written as by a request that may write to all tables.
    await server.async_setValues(unit, {1: 15, 2: 2, 3: 16, 4: 4}[function], address, content)


def pair():
    """Two pseudo-terminals, each the other end of the other."""
    ends = []
    for _ in range(2):
        master, slave = os.openpty()
        tty.setraw(slave)
        ends.append((master, slave, os.ttyname(slave)))
    (one, _, near), (other, _, far) = ends
    loop.add_reader(one, lambda: os.write(other, os.read(one, 4096)))
    loop.add_reader(other, lambda: os.write(one, os.read(other, 4096)))
    return {"path": near, "far": far, "noise": other}


async def main():
    global loop, line
    loop = asyncio.get_running_loop()
    if sys.argv[1] == "tcp":
        await listen(0)
        port = server.transport.sockets[0].getsockname()[1]
        say(port=port)
    else:
        port = 0
        line = pair()
        await listen(0)
        say(path=line["far"])
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while command := await stdin.readline():
        command = json.loads(command)
        answer = True
        if "set" in command:
            values.append(command["set"])
            await put(*command["set"])
        if "mode" in command:
            unit, mode, argument = command["mode"]
            modes[unit] = (mode, argument)
        if "listen" in command:
            if command["listen"]:
                await listen(port)
            else:
                await server.shutdown()
                if getattr(server, "active", None):
                    server.active.close()
        if "requests" in command:
            answer = requests.get(command["requests"], 0)
        if "noise" in command:
            os.write(line["noise"], bytes.fromhex(command["noise"]))
        say(done=answer)


asyncio.run(main())
