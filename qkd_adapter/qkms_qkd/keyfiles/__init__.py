"""Keys that come as files, exported by a vendor's device or carried over an air gap: format, folder, link."""
