"""``vitgan``, and ``python -m cli``."""

from __future__ import annotations


def main() -> None:
    """Runs a command; Ctrl-C while it loads ends it as it does later, without a traceback."""
    try:
        from cli.main import app

        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
