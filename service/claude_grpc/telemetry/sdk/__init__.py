"""The only room that knows the OpenTelemetry SDK and its exporters. Entered when somebody has asked for an export."""
