//! An MQTT 3.1.1 and 5 endpoint that acknowledges after commit.
