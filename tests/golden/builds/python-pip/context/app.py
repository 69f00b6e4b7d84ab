import os

import six

print(f"{six.__name__} is here, uid {os.getuid()}")
