"""What a server asks of the operating system."""

__all__ = ["raise_file_limit"]


def raise_file_limit() -> None:
    """Lets there be as many connections as the system allows; shells start with 1024 files."""
    try:
        import resource
    except ImportError:
        # Windows, which has no such limit.
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
