"""Jobs until they are finished."""
