"""Load balancing: a live pool with leases, and consistent placement that agrees with the servers' own.

>>> from evenly.balancers import Pool, Ring
>>> pool = Pool({"10.0.0.1:80": 2, "10.0.0.2:80": 1}, algorithm="round_robin")
>>> [pool.pick().member for _ in range(3)]
['10.0.0.1:80', '10.0.0.2:80', '10.0.0.1:80']
>>> ring = Ring(["cache-1", "cache-2", "cache-3"])
>>> ring["user 17"] == ring[b"user 17"]
True

Members are a list of objects or of `(object, weight)`, or a mapping `{object: weight}`. An object is known by its name:
itself if it is a `str`, else `name(object)`. Placement depends on names and weights alone, not on order or process.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Callable, NamedTuple, TypeVar, Union

from . import _evenly
from ._errors import NobodyError
from ._evenly import Lease, jump_hash, key_hash

__all__ = [
    "ALGORITHMS",
    "BoundedRing",
    "HashRing",
    "Ketama",
    "Lease",
    "Maglev",
    "MemberStats",
    "NobodyError",
    "Pool",
    "Rendezvous",
    "Ring",
    "jump_hash",
    "key_hash",
]

T = TypeVar("T", bound=Hashable)

#: Held while nodes come or go, so that of two changes at once neither is lost.
_changing = threading.Lock()

#: The names of all algorithms a `Pool` knows.
ALGORITHMS: tuple[str, ...] = _evenly.ALGORITHMS


#: How members are listed.
Members = Union[Mapping[T, int], Iterable[T], Iterable[tuple[T, int]]]


class MemberStats(NamedTuple):
    """One member of a pool, as it stands."""

    member: Any
    weight: int
    is_up: bool
    is_draining: bool
    in_flight: int
    picks: int
    latency: float | None


class Pool(_evenly.PoolBase[T]):
    """A set of members that may change while it is picked from: weights, load, health, draining, retries.

    `pick()` gives a `Lease`: the member counts as busy until the lease ends. Use it as a context manager, so that the
    outcome and the latency of the request are told too; `pick(avoid=[lease])` gives another member for a retry;
    members may stand in the list too.
    """

    def __new__(
        cls,
        members: Members[T] = (),
        algorithm: str = "p2c",
        *,
        name: Callable[[T], str] | None = None,
        seed: int | None = None,
        points: int = 160,
        bound: float = 1.25,
        first_turn: int = 0,
        slots: int = 65537,
        scheme: str = "nginx",
        panic_threshold: int = 0,
        slow_start: float = 0.0,
    ) -> Pool[T]:
        options = _options(points, bound, first_turn, slots, scheme)
        naming = name or _pool_name
        listed = _rows([(naming(member), weight, member) for member, weight in _listed(members)])
        if seed is not None:
            _whole("seed", seed, 2**64 - 1)
        _whole("panic_threshold", panic_threshold, 2**32 - 1)
        pool: Pool[T] = super().__new__(cls, listed, algorithm, options, seed, panic_threshold, slow_start)
        pool._name = naming
        return pool

    _name: Callable[[T], str]

    def add(self, member: T, weight: int = 1) -> None:
        """Adds a member; with requests still in flight from before, it comes back with its load."""
        id = self._name(member)
        self._add(id, _weight(id, weight), member)

    def remove(self, member: T) -> None:
        """Removes a member: no new picks. Leases under way go on."""
        self._remove(self._name(member))

    def set_weight(self, member: T, weight: int) -> None:
        """Gives a member another weight, 1 to 65,535."""
        id = self._name(member)
        self._set_weight(id, _weight(id, weight))

    def set_up(self, member: T, is_up: bool) -> bool:
        """Tells whether a member is up, as health checks see it; returns whether that is new."""
        return bool(self._set_up(self._name(member), is_up))

    def drain(self, member: T) -> None:
        """No new picks; `is_drained` tells when the last request has ended."""
        self._set_draining(self._name(member), True)

    def undrain(self, member: T) -> None:
        """Takes `drain` back."""
        self._set_draining(self._name(member), False)

    def is_drained(self, member: T) -> bool:
        """Whether the member takes no picks and has no request in flight."""
        return bool(self._is_drained(self._name(member)))

    def candidates(self, key: str | bytes | int | None = None) -> list[T | None]:
        """Every member that may take this request once, the best first."""
        return [self._member(id) for id in self._candidates(key)]

    def stats(self) -> list[MemberStats]:
        """Every member as it stands, in the order of names."""
        return [MemberStats(self._member(row[0]), *row[1:]) for row in self._status()]

    def _name_of(self, member: T) -> str:
        return self._name(member)

    def __contains__(self, member: Any) -> bool:
        return self._member(self._name(member)) is not None

    def __iter__(self) -> Iterator[T]:
        return iter([row.member for row in self.stats()])

    def __repr__(self) -> str:
        return f"Pool({ {row.member: row.weight for row in self.stats()}!r}, algorithm={self.algorithm!r})"


class _Keyed(_evenly.Placement[T]):
    """What the mappings from keys to nodes share."""

    _name: Callable[[T], str]
    _nodes: dict[str, tuple[T, int]]
    _recipe: tuple[str, dict[str, Any]]

    @classmethod
    def _place(cls, algorithm: str, members: Any, name: Callable[[Any], str] | None, **options: Any) -> Any:
        naming = name or _stable_name
        nodes: dict[str, tuple[Any, int]] = {}
        for member, weight in _listed(members):
            if nodes.setdefault(naming(member), (member, weight))[0] is not member:
                raise ValueError(f"member {naming(member)!r} is there twice")
        placed = cls._bare(algorithm, options, nodes)
        placed._name, placed._nodes, placed._recipe = naming, nodes, (algorithm, options)
        return placed

    @classmethod
    def _bare(cls, algorithm: str, options: dict[str, Any], nodes: dict[str, tuple[Any, int]]) -> Any:
        return _evenly.Placement.__new__(cls, algorithm, _options(**options), _rows_of(nodes))

    def add(self, member: T, weight: int = 1) -> None:
        """Adds a node, or gives it another weight: it takes over its share of keys, and no other key moves."""
        with _changing:
            self._change({**self._nodes, self._name(member): (member, weight)})

    def remove(self, member: T) -> None:
        """Removes a node: its keys go to the others, and no other key moves."""
        with _changing:
            left = dict(self._nodes)
            if left.pop(self._name(member), None) is None:
                raise KeyError(member)
            self._change(left)

    def _change(self, nodes: dict[str, tuple[T, int]]) -> None:
        self._replace(_rows_of(nodes))
        self._nodes = nodes

    @property
    def weights(self) -> dict[T, int]:
        """The nodes and their weights."""
        return dict(self._nodes.values())

    def __reduce__(self) -> tuple[Any, ...]:
        """What is placed and how; a copy places alike, in any process."""
        return _placed, (type(self), *self._recipe, self._nodes), self.__dict__

    def __contains__(self, member: Any) -> bool:
        return self._name(member) in self._nodes

    def __iter__(self) -> Iterator[T]:
        return (member for member, _ in self._nodes.values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weights!r})"


class Ring(_Keyed[T]):
    """Consistent hashing: a key keeps its node while others come and go. `points` a unit of weight (evener with more)."""

    def __new__(cls, members: Members[T] = (), *, points: int = 160, name: Callable[[T], str] | None = None) -> Ring[T]:
        return cls._place("ring", members, name, points=points)  # type: ignore[no-any-return]


class BoundedRing(_Keyed[T]):
    """A ring whose `assign` gives no node more than `bound` times its fair share of the keys."""

    def __new__(
        cls, members: Members[T] = (), *, points: int = 160, bound: float = 1.25, name: Callable[[T], str] | None = None
    ) -> BoundedRing[T]:
        return cls._place("bounded_ring", members, name, points=points, bound=bound)  # type: ignore[no-any-return]


class Ketama(_Keyed[T]):
    """The ring of nginx (`hash … consistent`) or of libketama and memcached clients: the same node for every key."""

    def __new__(
        cls, members: Members[T] = (), *, scheme: str = "nginx", name: Callable[[T], str] | None = None
    ) -> Ketama[T]:
        return cls._place("ketama", members, name, scheme=scheme)  # type: ignore[no-any-return]


class Maglev(_Keyed[T]):
    """One table look-up a key and nearly equal shares; a few more keys move than on a ring."""

    def __new__(cls, members: Members[T] = (), *, slots: int = 65537, name: Callable[[T], str] | None = None) -> Maglev[T]:
        return cls._place("maglev", members, name, slots=slots)  # type: ignore[no-any-return]


class Rendezvous(_Keyed[T]):
    """The highest random weight wins: exact shares, no memory, O(n) a look-up; for up to some dozens of nodes."""

    def __new__(cls, members: Members[T] = (), *, name: Callable[[T], str] | None = None) -> Rendezvous[T]:
        return cls._place("rendezvous", members, name)  # type: ignore[no-any-return]


class HashRing(_evenly.HashRingBase):
    """The common face of `uhashring.HashRing`: a change of import is enough.

    With `hash_fn="ketama"` every key goes to the same node as there. Without it, placement is `Ring`'s: as even, but not
    the same as there. `weight_fn` and `vnodes` other than the usual are refused rather than ignored.
    """

    def __init__(
        self,
        nodes: Any = (),
        *,
        hash_fn: str | None = None,
        vnodes: int | None = None,
        replicas: int | None = None,
        weight_fn: None = None,
    ) -> None:
        usual = 40 if hash_fn == "ketama" else 160
        for option, value, allowed in (("vnodes", vnodes, usual), ("replicas", replicas, 4)):
            if value not in (None, allowed):
                raise ValueError(f"{option} {value!r} (must be {allowed})")
        if hash_fn not in (None, "ketama") or weight_fn is not None:
            raise ValueError("hash_fn must be None or 'ketama', and weight_fn None: use Ring and its weights")
        self._is_ketama = hash_fn == "ketama"
        self.nodes: dict[str, dict[str, Any]] = {}
        self._configure(nodes)

    def _configure(self, nodes: Any) -> None:
        listed = {nodes: 1} if isinstance(nodes, str) else nodes if isinstance(nodes, Mapping) else dict.fromkeys(nodes, 1)
        for node, conf in listed.items():
            if isinstance(conf, int):
                conf = {"weight": conf}
            known = {"hostname": node, "instance": None, "nodename": node, "port": None, "vnodes": None, "weight": 1}
            self.nodes[node] = {**known, **{key: value for key, value in conf.items() if key in known}}
        weights = {node: conf["weight"] for node, conf in self.nodes.items()}
        self._ring = Ketama(weights, scheme="libketama") if self._is_ketama else Ring(weights)
        self._look_in(self._ring, self.nodes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Nodes and how they are placed; a copy places alike, in any process."""
        return _unplaced, (type(self),), self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy changes alone.
        self.__dict__.update(state, nodes=dict(state["nodes"]))
        self._look_in(self._ring, self.nodes)

    @property
    def conf(self) -> dict[str, dict[str, Any]]:
        """The nodes, by uhashring's other name."""
        return self.nodes

    def __repr__(self) -> str:
        weights = {node: conf["weight"] for node, conf in self.nodes.items()}
        return f"HashRing({weights!r}, hash_fn={'ketama' if self._is_ketama else None!r})"

    def add_node(self, nodename: str, conf: Any = 1) -> None:
        """Adds a node."""
        with _changing:
            self._configure({nodename: conf})

    __setitem__ = add_node

    def remove_node(self, nodename: str) -> None:
        """Removes a node."""
        with _changing:
            if nodename not in self.nodes:
                raise KeyError(f"node {nodename!r} not found, available nodes: {list(self.nodes)}")
            del self.nodes[nodename]
            self._configure({})

    __delitem__ = remove_node

    def get(self, key: Any) -> dict[str, Any] | None:
        """The configuration of the key's node."""
        node = self.get_node(key)
        return None if node is None else self.nodes[node]

    def _part(self, key: Any, part: str) -> Any:
        node = self.get_node(key)
        return None if node is None else self.nodes[node][part]

    def get_node_instance(self, key: Any) -> Any:
        """The instance of the key's node."""
        return self[key]

    def get_node_hostname(self, key: Any) -> Any:
        """The host name of the key's node."""
        return self._part(key, "hostname")

    def get_node_port(self, key: Any) -> Any:
        """The port of the key's node."""
        return self._part(key, "port")

    def get_node_weight(self, key: Any) -> Any:
        """The weight of the key's node."""
        return self._part(key, "weight")

    def get_nodes(self) -> Iterable[str]:
        """The names of all nodes."""
        return self.nodes.keys()

    def get_instances(self) -> list[Any]:
        """The instances of all nodes that have one."""
        return [conf["instance"] for conf in self.nodes.values() if conf["instance"]]

    def range(self, key: Any, size: int | None = None, unique: bool = True) -> Iterator[dict[str, Any]]:
        """The configurations of the nodes for a key, the best first."""
        if not unique:
            raise ValueError("unique must be True: a node is told once")
        names = self._ring.get_nodes(key if isinstance(key, str) else str(key), size or len(self.nodes))
        return (self.nodes[name] for name in names)

    def iterate_nodes(self, key: Any, distinct: bool = True) -> Iterator[str | None]:
        """The names of the nodes for a key, the best first; None if there are none."""
        if not self.nodes:
            return iter([None])
        return (conf["nodename"] for conf in self.range(key, unique=distinct))


def _options(
    points: int = 160, bound: float = 1.25, first_turn: int = 0, slots: int = 65537, scheme: str = "nginx"
) -> dict[str, Any]:
    for name, number, limit in (
        ("points", points, 2**32 - 1), ("first_turn", first_turn, 2**64 - 1), ("slots", slots, 2**32 - 1)
    ):
        _whole(name, number, limit)
    return {"points": points, "bound": bound, "first_turn": first_turn, "slots": slots, "scheme": scheme}


def _whole(name: str, number: int, limit: int) -> None:
    if not 0 <= operator.index(number) <= limit:
        raise ValueError(f"{name} {number} (must be 0 to {limit})")


def _weight(id: str, weight: int) -> int:
    try:
        whole = operator.index(weight)
    except TypeError:
        raise TypeError(f'weight {weight!r} for member "{id}" (must be a whole number)') from None
    if not 1 <= whole <= 65_535:
        raise ValueError(f'weight {whole} for member "{id}" (must be 1 to 65535)')
    return whole


def _listed(members: Any) -> list[tuple[Any, int]]:
    if isinstance(members, Mapping):
        return list(members.items())
    if isinstance(members, (str, bytes)) or not isinstance(members, Iterable):
        raise TypeError(f"members {members!r} (must be a list or a mapping; for a single one, a list of it)")
    pairs = []
    for member in members:
        weighted = isinstance(member, tuple) and len(member) == 2 and type(member[1]) is int
        pairs.append(member if weighted else (member, 1))
    return pairs


def _rows(members: list[tuple[str, int, Any]]) -> list[tuple[str, int, Any]]:
    return [(id, _weight(id, weight), member) for id, weight, member in members]


def _rows_of(nodes: dict[str, tuple[Any, int]]) -> list[tuple[str, int, Any]]:
    return _rows([(id, weight, member) for id, (member, weight) in nodes.items()])


def _placed(kind: type[_Keyed[Any]], algorithm: str, options: dict[str, Any], nodes: dict[str, tuple[Any, int]]) -> Any:
    return kind._bare(algorithm, options, nodes)


def _unplaced(kind: type[HashRing]) -> HashRing:
    return kind.__new__(kind)


def _stable_name(member: Any) -> str:
    if isinstance(member, str):
        return member
    if isinstance(member, bytes):
        return member.decode("utf-8", "surrogateescape")
    if not _tells_its_name(member):
        raise TypeError(f"{type(member).__name__} has no name that is the same in every process: pass name=, or give it __str__")
    if isinstance(member, tuple):
        return ":".join(_stable_name(part) for part in member)
    return str(member)


def _pool_name(member: Any) -> str:
    # A pool places by name only with keyed algorithms; for all others any name that stays the same will do.
    if not _tells_its_name(member):
        return f"{type(member).__qualname__} at {id(member):#x}"
    return _stable_name(member)


def _tells_its_name(member: Any) -> bool:
    kind: Any = type(member)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
