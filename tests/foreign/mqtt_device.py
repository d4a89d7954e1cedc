"""An MQTT device by paho-mqtt that does as it is told.

    mqtt_device.py PORT NAME PASSWORD 3.1.1|5 [CA_FILE]

It connects, connects again when the connection is lost, and sends again what was not acknowledged.
It reads commands from standard input, a line of JSON each, and answers each with a line of JSON:

    {"port": n}                                    connect there from now on
    {"publish": [topic, payload, qos, retain]}     answers {"id": n}
    {"acknowledged": n, "within": seconds}         answers {"acknowledged": bool}
    {"subscribe": topic}                           answers {"codes": [...]} of the SUBACK
    {"connected": seconds}                         answers {"connected": bool, "reason": last reason}
    {"drop": true}                                 cuts the socket without a DISCONNECT

Its will is the topic NAME/LWT. It ends when its standard input does.
"""
import json
import ssl
import sys
import threading
import time

import paho.mqtt.client as mqtt

port, name, password, version = sys.argv[1:5]
protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
client.username_pw_set(name, password)
client.will_set(f"{name}/LWT", "Offline", qos=1, retain=True)
client.reconnect_delay_set(min_delay=1, max_delay=1)
if len(sys.argv) > 5:
    client.tls_set_context(ssl.create_default_context(cafile=sys.argv[5]))
acknowledged = set()
reason = {"last": None}
codes = {}
heard = threading.Condition()


def on_connect(_client, _data, _flags, code, _properties):
    reason["last"] = str(code)


def on_disconnect(_client, _data, _flags, code, _properties):
    reason["last"] = str(code)


def on_publish(_client, _data, mid, code, _properties):
    if not code.is_failure:
        acknowledged.add(mid)


def on_subscribe(_client, _data, mid, reasons, _properties):
    with heard:
        codes[mid] = [code.value for code in reasons]
        heard.notify_all()


client.on_connect = on_connect
client.on_disconnect = on_disconnect
client.on_publish = on_publish
client.on_subscribe = on_subscribe
client.connect_async("localhost", int(port), keepalive=30)
client.loop_start()


def until(seconds, look):
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


for line in sys.stdin:
    command = json.loads(line)
    if "port" in command:
        client.connect_async("localhost", command["port"], keepalive=30)
        answer = {}
    elif "publish" in command:
        topic, payload, qos, retain = command["publish"]
        sent = client.publish(topic, payload, qos=qos, retain=retain)
        answer = {"id": sent.mid}
    elif "acknowledged" in command:
        mid = command["acknowledged"]
        answer = {"acknowledged": until(command["within"], lambda: mid in acknowledged)}
    elif "subscribe" in command:
        _, mid = client.subscribe(command["subscribe"], qos=1)
        with heard:
            heard.wait_for(lambda: mid in codes, timeout=20)
        answer = {"codes": codes.get(mid)}
    elif "connected" in command:
        answer = {"connected": until(command["connected"], client.is_connected)}
        answer["reason"] = reason["last"]
    elif "drop" in command:
        client.socket().shutdown(2)
        answer = {}
    else:
        answer = {"error": f"unknown: {line}"}
    print(json.dumps(answer), flush=True)
