"""What stands in for `DCLS.construct.modules` where the clients run on our layers."""

from dcls import *  # noqa: F403
