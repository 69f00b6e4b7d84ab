from __future__ import annotations

from typing import Any

import pytest

from workers.errors import InvalidSpec
from workers.oci.changes import apply_changes


@pytest.mark.parametrize(
    ("changes", "run"),
    [
        (['CMD ["sh", "-l"]'], {"Cmd": ["sh", "-l"]}),
        (["CMD echo hi"], {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        (['entrypoint ["/init"]'], {"Entrypoint": ["/init"]}),
        (["ENV A=1 B='two words'", "ENV A=3"], {"Env": ["A=3", "B=two words"]}),
        (["ENV NAME the whole rest"], {"Env": ["NAME=the whole rest"]}),
        (["EXPOSE 80 53/udp"], {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        (["EXPOSE 8000-8001"], {"ExposedPorts": {"8000/tcp": {}, "8001/tcp": {}}}),
        (["WORKDIR /srv", "WORKDIR web"], {"WorkingDir": "/srv/web"}),
        (['VOLUME ["/a", "/b"]'], {"Volumes": {"/a": {}, "/b": {}}}),
        (['LABEL a=b "c d"=e'], {"Labels": {"a": "b", "c d": "e"}}),
        (["USER 33:33", "STOPSIGNAL SIGQUIT"], {"User": "33:33", "StopSignal": "SIGQUIT"}),
        ([], {}),
    ],
)
def test_changes_are_read_as_in_a_dockerfile(changes: list[str], run: dict[str, Any]) -> None:
    assert apply_changes(changes) == run


@pytest.mark.parametrize(
    "change",
    ["RUN rm -rf /", "CMD", "ENV A", "ENV A=1 B", "EXPOSE web", "EXPOSE 0", "EXPOSE 70000", "EXPOSE 9-8",
     "USER a b", "WORKDIR ../etc", "VOLUME data", "STOPSIGNAL now", "CMD [1]", 'ENV A="open', ""],
)  # fmt: skip
def test_a_change_that_makes_no_sense_is_refused_by_its_text(change: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        apply_changes(["USER www", change])
    assert repr(change) in raised.value.message
