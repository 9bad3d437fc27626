"""A new till: from what an installer answers to a configuration that works, with keys made on the device."""
