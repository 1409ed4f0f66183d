"""What the application receives: callbacks, queues, buffers."""
