-- Where a device is placed is asked for each row of a list of devices.
CREATE INDEX placements_by_device ON placements (tenant, device);
