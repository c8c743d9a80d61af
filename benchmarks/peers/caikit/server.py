"""caikit with a library that is written for Kitfox; its argument is CONFIG_FILE.

The libraries use names that both have; here they get caikit's.
"""

import sys
import types

from caikit.core import ModuleBase, ModuleLoader, ModuleSaver, TaskBase, module, task
from caikit.core.data_model import DataObjectBase, DataStream, dataobject

import caikit

names = types.ModuleType("kitfox")
for item in (
    *(DataObjectBase, DataStream, dataobject),
    *(ModuleBase, ModuleLoader, ModuleSaver, TaskBase, module, task),
):
    setattr(names, item.__name__, item)
sys.modules["kitfox"] = names

if __name__ == "__main__":
    caikit.configure(sys.argv[1])
    from caikit.runtime.__main__ import main

    sys.exit(main())
