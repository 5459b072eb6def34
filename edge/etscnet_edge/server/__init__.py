"""The exported model behind HTTP: studies, the Open Inference Protocol v2, metrics, a page. An extra: `[server]`."""
