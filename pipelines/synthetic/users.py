"""What the users of one shard do: sessions, themes, items along the chains, types and times."""

from typing import NamedTuple

import numpy as np

from pipelines.synthetic.history import (
    BUY,
    CART,
    FAV,
    NONE,
    PV,
    Bools,
    Events,
    Ints,
    Sessions,
    cut,
    run_starts,
    sums_within,
    within,
)  # fmt: skip
from pipelines.synthetic.settings import GAP_S, MAX_SESSION_EVENTS, Settings, before, share
from pipelines.synthetic.world import World, zipf

GLANCES, SIZE_SIGMA = 0.2, 1.18
"""Share of one-event glances, and the log-normal spread of all other sessions: fit Taobao's size classes."""

ACTIVITY_SHAPE = 3.0
"""Gamma shape of a person's activity: 5 % have under 30 % of the mean sessions, 5 % over twice it."""

CART_SHARE, FAV_SHARE = 0.055, 0.028
BUY_AFTER_CART = 0.47
"""P(the event right after a cart buys that item): gives about 2 % purchases."""
SAME_SECOND = 0.15
"""Share of purchases in the second of their cart, as on Taobao (15.8 %)."""

EXACT_GAP = 0.001
"""Share of gaps inside sessions that equal the limit to the second, and of cuts one second above it."""


class Shard(NamedTuple):
    """What one shard holds."""

    events: Events
    sessions: Sessions


def simulate(settings: Settings, world: World, shard: int) -> Shard:
    """Events and sessions of a shard; a function of settings, world and shard number only."""
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(1, shard)))
    of = settings.shards
    n_bots = share(settings.n_bots, shard, of)
    n_people = share(settings.n_users - settings.n_bots, shard, of)
    # Quotas of all shards add up to `events`; ids of users are dense: people first, then bots.
    quota = share(settings.events - settings.n_bots * settings.bot_events, shard, of)
    people = _people(settings, world, rng, n_people, quota)
    people = _shift(people, before(settings.n_users - settings.n_bots, shard, of))
    if not n_bots:
        return people
    bots = _bots(settings, rng, n_bots, world)
    first = settings.n_users - settings.n_bots + before(settings.n_bots, shard, of)
    return _append(people, _shift(bots, first))


def _people(settings: Settings, world: World, rng: np.random.Generator, n_users: int, quota: int) -> Shard:
    sizes = _session_sizes(settings.session_length, n_users, quota, rng)
    per_user = _sessions_per_user(len(sizes), n_users, settings.most_sessions, rng)
    user = np.repeat(np.arange(n_users), per_user)
    slot = _slots(per_user, settings, rng)
    theme = _user_themes(n_users, settings, world, rng)[user, slot]
    session = np.repeat(np.arange(len(sizes)), sizes)
    kind, gap = _types_and_gaps(session, rng)
    item, off = _items(settings, world, rng, user=user, slot=slot, theme=theme, sizes=sizes, kind=kind)
    ts = settings.start_s + _times(settings, rng, per_user, sizes, gap)
    sessions = Sessions(user=user, ordinal=within(per_user) + 1, size=sizes, theme=theme)
    return Shard(Events(user[session], session, item, kind, ts, off), sessions)


def _session_sizes(mean: float, at_least: int, quota: int, rng: np.random.Generator) -> Ints:
    """Sizes that add up to the quota exactly; at least one session for each user."""
    mu = np.log((mean - GLANCES) / (1 - GLANCES) - 0.45) - SIZE_SIGMA**2 / 2  # rounding up adds about 0.45
    drawn = rng.lognormal(mu, SIZE_SIGMA, int(quota / mean * 1.2) + at_least + 64)
    drawn[rng.random(len(drawn)) < GLANCES] = 1.0
    sizes: Ints = np.minimum(np.ceil(drawn), MAX_SESSION_EVENTS).astype(np.int64)
    while sizes.sum() < quota:
        sizes = np.r_[sizes, sizes]
    count = int(np.searchsorted(np.cumsum(sizes), quota, side="left")) + 1
    sizes = sizes[:count]
    sizes[-1] -= sizes.sum() - quota
    while len(sizes) < at_least:  # few events for many users: halve the longest
        longest = int(np.argmax(sizes))
        half = sizes[longest] // 2
        sizes[longest] -= half
        sizes = np.r_[sizes, half]
    return sizes


def _sessions_per_user(sessions: int, users: int, most: int, rng: np.random.Generator) -> Ints:
    """At least one each, at most ``most``, gamma activity, adding up to ``sessions``."""
    activity = rng.gamma(ACTIVITY_SHAPE, size=users)
    count = 1 + rng.multinomial(sessions - users, activity / activity.sum())
    over = int(np.maximum(count - most, 0).sum())
    count = np.minimum(count, most)
    room = np.cumsum(most - count)
    given = np.minimum(room, over)
    return np.asarray(count + np.diff(given, prepend=0), dtype=np.int64)


def _slots(per_user: Ints, settings: Settings, rng: np.random.Generator) -> Ints:
    """Which of the user's themes each session has: a hop goes to any of the others."""
    total, k = int(per_user.sum()), settings.themes_per_user
    if k == 1:
        return np.zeros(total, dtype=np.int64)
    step = np.where(rng.random(total) < settings.hop_probability, rng.integers(1, k, total), 0)
    return np.asarray(sums_within(step, per_user) % k, dtype=np.int64)


def _user_themes(users: int, settings: Settings, world: World, rng: np.random.Generator) -> Ints:
    """``(users, themes_per_user)`` distinct themes, popular ones more often (Gumbel top-k)."""
    score = np.log(world.theme_share) + rng.gumbel(size=(users, settings.themes))
    best: Ints = np.argsort(-score, axis=1)[:, : settings.themes_per_user]
    return best


def _types_and_gaps(session: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Type of each event, and seconds since the event before (0 at a session's first event)."""
    n = len(session)
    kind = rng.choice(np.array([PV, CART, FAV]), n, p=[1 - CART_SHARE - FAV_SHARE, CART_SHARE, FAV_SHARE])
    inside = np.zeros(n, dtype=np.bool_)
    inside[1:] = session[1:] == session[:-1]
    after_cart = inside & (np.roll(kind, 1) == CART) & (rng.random(n) < BUY_AFTER_CART)
    kind[after_cart] = BUY
    # A purchase directly after another one would have no cart of its own.
    orphan = (kind == BUY) & (np.roll(kind, 1) == BUY)
    kind[orphan] = PV
    gap = np.clip(rng.lognormal(np.log(54), 1.4, n).astype(np.int64), 1, GAP_S)
    gap[rng.random(n) < EXACT_GAP] = GAP_S
    gap[(kind == BUY) & (rng.random(n) < SAME_SECOND)] = 0
    gap[~inside] = 0
    return kind, gap


def _items(
    settings: Settings, world: World, rng: np.random.Generator,
    *, user: Ints, slot: Ints, theme: Ints, sizes: Ints, kind: Ints,
) -> tuple[Ints, Bools]:  # fmt: skip
    """Item of each event, and whether it is off its session's theme."""
    n, places = len(kind), settings.items_per_theme
    bought = kind == BUY
    off = (rng.random(n) < settings.off_theme) if settings.themes > 1 else np.zeros(n, dtype=np.bool_)
    jump = ~off & (rng.random(n) < settings.jump)
    step = np.where(off | jump | bought, 0, rng.integers(1, 4, n))

    # Events in the order of (user, theme, time): one running sum is each person's way along each chain.
    thread = user * settings.themes_per_user + slot
    visit = np.argsort(thread, kind="stable")
    ends = np.cumsum(sizes)
    order = np.repeat((ends - sizes)[visit], sizes[visit]) + within(sizes[visit])
    if settings.chain == "resume":
        of_thread = np.repeat(thread[visit], sizes[visit])
        lengths = np.diff(np.r_[run_starts(of_thread), n])
    else:
        lengths = sizes[visit]
    begin = np.repeat(rng.integers(0, places, len(lengths)), lengths)
    place = np.empty(n, dtype=np.int64)
    place[order] = (begin + sums_within(step[order], lengths)) % places
    place[jump] = rng.choice(places, int(jump.sum()), p=zipf(places, 0.8))

    of_theme = np.repeat(theme, sizes)
    if settings.themes > 1:
        other = rng.integers(1, settings.themes, int(off.sum()))
        of_theme[off] = (of_theme[off] + other) % settings.themes
        place[off] = rng.integers(0, places, int(off.sum()))
    item = world.chain[of_theme, place]
    # A purchase is of the item of the cart right before it.
    at = np.flatnonzero(bought)
    item[at], off[at] = item[at - 1], off[at - 1]
    return item, off


def _times(settings: Settings, rng: np.random.Generator, per_user: Ints, sizes: Ints, gap: Ints) -> Ints:
    """Seconds since the window's start; between sessions always more than the session gap."""
    window = settings.days * 86_400 - 1
    users = np.repeat(np.arange(len(per_user)), per_user)
    begin = np.cumsum(sizes) - sizes

    def shrink(to: Ints, per: Ints, gap: Ints) -> Ints:
        """Scale gaps down where a group of events would take longer than it may."""
        total = np.add.reduceat(gap, np.cumsum(per) - per)
        factor = np.repeat(np.minimum(1.0, to / np.maximum(total, 1)), per)
        return np.where((factor < 1) & (gap > 1), np.maximum((gap * factor).astype(np.int64), 1), gap)

    gap = shrink(np.full(len(sizes), 72_000), sizes, gap)  # a person's session stays below the cap
    events_per_user = np.add.reduceat(sizes, np.cumsum(per_user) - per_user)
    most = window - (GAP_S + 1) * per_user
    gap = shrink((most * 0.8).astype(np.int64), events_per_user, gap)
    lasts = np.add.reduceat(gap, begin)

    # Slack of each user, divided at random before, between and after the sessions.
    slack = most - np.add.reduceat(lasts, np.cumsum(per_user) - per_user)
    weight = rng.lognormal(0, 1.6, len(sizes))
    first = np.zeros(len(sizes), dtype=np.bool_)
    first[np.cumsum(per_user) - per_user] = True
    weight[~first & (rng.random(len(sizes)) < EXACT_GAP)] = 0.0
    total = np.add.reduceat(weight, np.cumsum(per_user) - per_user) + rng.lognormal(0, 1.6, len(per_user))
    pause = np.floor(weight / total[users] * np.maximum(slack, 0)[users]).astype(np.int64)
    pause += np.where(first, 0, GAP_S + 1)
    gap[begin] = pause
    return sums_within(gap, events_per_user)


def _bots(settings: Settings, rng: np.random.Generator, n_bots: int, world: World) -> Shard:
    """Every second bot is quick (1–3 s), every other goes on around the clock (45–75 s)."""
    each, n = settings.bot_events, settings.bot_events * n_bots
    user = np.repeat(np.arange(n_bots), each)
    gap = np.where(user % 2 == 0, rng.integers(1, 4, n), rng.integers(45, 76, n))
    ts = sums_within(gap, np.full(n_bots, each))
    lasts = ts.reshape(n_bots, each)[:, -1]
    room = np.maximum(settings.days * 86_400 - 1 - lasts, 0)
    ts = settings.start_s + np.repeat((rng.random(n_bots) * room).astype(np.int64), each) + ts
    cuts = [cut(part) for part in ts.reshape(n_bots, each)]
    per_user = np.array([len(sizes) for sizes in cuts], dtype=np.int64)
    sizes = np.concatenate(cuts)
    m = len(sizes)
    item = np.unique(world.chain)[rng.integers(0, len(np.unique(world.chain)), n)]
    sessions = Sessions(
        user=np.repeat(np.arange(n_bots), per_user), ordinal=within(per_user) + 1, size=sizes,
        theme=np.full(m, NONE, dtype=np.int64),
    )  # fmt: skip
    kind = np.zeros(n, dtype=np.int64)
    return Shard(
        Events(user, np.repeat(np.arange(m), sizes), item, kind, ts, np.ones(n, dtype=np.bool_)), sessions
    )


def _shift(shard: Shard, first_user: int) -> Shard:
    """The same with users counted from ``first_user``."""
    e, s = shard
    return Shard(
        Events(e.user + first_user, e.session, e.item, e.kind, e.ts, e.off_theme),
        Sessions(s.user + first_user, s.ordinal, s.size, s.theme),
    )


def _append(one: Shard, two: Shard) -> Shard:
    """Both, the second's sessions counted on from the first's."""
    a, b = one.events, two.events
    s, t = one.sessions, two.sessions
    return Shard(
        Events(
            np.r_[a.user, b.user], np.r_[a.session, b.session + len(s.user)], np.r_[a.item, b.item],
            np.r_[a.kind, b.kind], np.r_[a.ts, b.ts], np.r_[a.off_theme, b.off_theme],
        ),
        Sessions(
            np.r_[s.user, t.user], np.r_[s.ordinal, t.ordinal], np.r_[s.size, t.size], np.r_[s.theme, t.theme]
        ),
    )  # fmt: skip
