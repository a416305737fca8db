from importlib.metadata import version

import legacy_core
import legacy_tools
import legacy_units

for name in ("humanize", "tabulate", "packaging", "legacy-core", "legacy-tools", "legacy-units"):
    print(name, version(name))
print(legacy_tools.shout(legacy_core.size(3 * legacy_units.MEBI)), legacy_core.__file__.split("/")[-2])
