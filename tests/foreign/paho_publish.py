"""Publishes one ThingsBoard message by paho-mqtt over TLS and waits for its PUBACK.

usage: paho_publish.py PORT CA_FILE TOKEN MESSAGE
"""
import ssl
import sys

import paho.mqtt.client as mqtt

port, ca_file, token, message = sys.argv[1:]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho", protocol=mqtt.MQTTv311)
client.username_pw_set(token)
context = ssl.create_default_context(cafile=ca_file)
client.tls_set_context(context)
try:
    client.connect("localhost", int(port), keepalive=30)
except ssl.SSLError as error:
    print("tls:", error)
    sys.exit(3)
client.loop_start()
published = client.publish("v1/devices/me/telemetry", message, qos=1)
published.wait_for_publish(timeout=20)
acknowledged = published.is_published()
client.disconnect()
client.loop_stop()
print("openssl:", ssl.OPENSSL_VERSION)
sys.exit(0 if acknowledged else 4)
