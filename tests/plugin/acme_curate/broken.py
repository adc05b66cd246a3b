"""A module that cannot be imported: the package that it needs is not there."""

import acme_package_that_is_not_installed  # noqa: F401
