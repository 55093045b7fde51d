"""Readers of image data: a registry from ``data.source`` to a function ``read(path, wanted) -> RawImages``."""

from emobench.faces.readers import fer2013, folder, named, table
from emobench.registry import Registry

READERS = Registry("image source")
READERS.register("folder")(folder.read_folder)
READERS.register("table")(table.read_table)
READERS.register("fer2013")(fer2013.read_fer2013)
READERS.register("rafdb")(named.read_rafdb)
READERS.register("jaffe")(named.read_jaffe)
READERS.register("kdef")(named.read_kdef)
