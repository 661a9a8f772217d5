"""Camera, ray casting, shading, sensor."""
