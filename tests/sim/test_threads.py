"""What users of other overlays ran into, thread by thread: the same events here, and what has to come of them.

Each schedule runs with several seeds (other delays, another order of callbacks) and under all the rules of ``checks``:
nothing that worked is lost by the store, everything is right again in time, one owner for each MAC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.sim import calm
from tests.sim.ending import Ending
from tests.sim.faults import die, move
from tests.sim.node import Container
from tests.sim.rules import BOUND, NOTICED, RULES, SETTLE, TICK
from tests.sim.schedule import Event, happen
from tests.sim.world import World
from vxswitch.fdb import Peer

SEEDS = range(3)
THREE, GUESTS, TWO_NETWORKS = (3, 1, 3, 0), (3, 1, 3, 1), (3, 2, 3, 0)
PAST_GRACE = RULES.grace + RULES.lease + 0.5

Work = Callable[[World], Coroutine[Any, Any, None]]


def tell(*events: tuple[Any, ...], shape: tuple[int, int, int, int] = THREE, then: Work | None = None) -> None:
    """Let (time, kind, arguments ...) happen, then look, then perhaps something more."""
    for seed in SEEDS:
        world = World(seed, shape)

        async def work(world: World = world) -> None:
            await happen(world, [Event(event[0], event[1], event[2:]) for event in events])
            if then is not None:
                await then(world)

        world.run(work())
        assert not world.witness.wrong, "\n".join([f"seed {seed}", *world.witness.wrong])


def play(work: Work, shape: tuple[int, int, int, int] = THREE) -> None:
    """Something that is more than a schedule."""
    for seed in SEEDS:
        world = World(seed, shape)
        world.run(work(world))
        assert not world.witness.wrong, "\n".join([f"seed {seed}", *world.witness.wrong])


def stands(world: World, at: str, name: str) -> bool:
    """A switch would send to where the container is."""
    process, container = world.hosts[at].process, world.container(name)
    table = process.switch.fdb.tables.get(container.vni) if process is not None else None
    return process is not None and table is not None and world.witness.standing.is_right(process, table, container)


async def until(world: World, true: Callable[[], bool], seconds: float) -> float:
    """Virtual seconds until something is true."""
    began = world.loop.now
    while not true():
        await asyncio.sleep(0.005)
        assert world.loop.now - began < seconds, f"not true after {seconds} s"
    return world.loop.now - began


# -- stale and missing entries -------------------------------------------------------------------------------------


def test_moby_52661_live_entries_never_vanish_and_no_learned_row_hides_that() -> None:
    async def only_claims(world: World) -> None:
        for process in world.processes:
            for row in process.switch.fdb.tables[5000].rows.values():
                assert row.source == ("claimed" if isinstance(row.hop, Peer) else "learned")

    tell((0.5, "store_hang", 2.0), (3.0, "flush"), (4.0, "trim"), (5.0, "store_down", 2.0), then=only_claims)


def test_moby_35401_a_mac_that_is_used_again_elsewhere_is_followed() -> None:
    tell((0.5, "die", "h1"), (1.5, "move", "c00", "h2", False, False))


def test_moby_35807_the_same_mac_in_two_networks_is_two_macs() -> None:
    tell((0.5, "move", "c00", "h2", True, True), (1.0, "move", "c10", "h3", False, False), shape=TWO_NETWORKS)


def test_libnetwork_2089_a_store_that_lost_its_tail_and_the_tables_agree_again() -> None:
    tell((0.5, "failover", 2.0), (1.0, "move", "c00", "h2", True, True), (1.5, "absent", "c01", 3.0))


def test_moby_47728_all_converge_whatever_was_missed() -> None:
    moves = [(0.3 * n, "move", f"c0{n % 3}", f"h{n % 2 + 2}", n % 2 == 0, n % 3 == 0) for n in range(12)]
    tell(*moves, (0.5, "store_cut", "h1", 2.0), (1.0, "trim"), (2.0, "pause", "h3", 1.0), (3.0, "trim"))


def test_moby_53437_rows_that_come_before_their_member_are_placed_when_it_comes() -> None:
    tell((0.5, "flush"), (0.7, "flush"), (0.9, "crash", "h2", 0.1), (1.0, "flush"))


def test_moby_53715_a_split_heals_however_long_it_was() -> None:
    tell((0.5, "store_cut", "h1", PAST_GRACE), (0.5, "partition", "h1", PAST_GRACE))


def test_moby_53142_a_partition_suspends_and_deletes_nothing() -> None:
    tell((0.5, "store_cut", "h1", RULES.grace / 2 - 0.1), (4.0, "store_cut", "h2", RULES.grace / 2 - 0.1))


def test_moby_32195_a_switch_that_starts_again_knows_everyone() -> None:
    tell((0.5, "restart", "h1", 0.5), (1.0, "move", "c01", "h3", False, True))


def test_flannel_1155_a_node_that_comes_back_at_another_address_is_found_there() -> None:
    tell((0.5, "readdress", "h1", 0.3))


def test_k3s_9957_a_node_that_comes_back_as_another_one_gets_its_name_and_its_rows() -> None:
    tell((0.5, "reinstall", "h1", 0.3), (4.0, "rename", "h2", 0.3))


def test_calico_5595_the_old_owners_release_does_not_take_the_new_owners_row() -> None:
    tell((0.5, "pause", "h1", 2.0), (1.0, "move", "c00", "h2", True, False))


def test_cilium_48109_nothing_is_left_of_a_node_that_is_gone() -> None:
    tell((0.5, "die", "h3"))


def test_frr_10468_a_sequence_that_began_anew_does_not_make_updates_look_old() -> None:
    tell(
        (0.5, "flush"),
        (2.5, "move", "c00", "h2", True, True),
        (3.0, "failover", 0.3),
        (3.6, "move", "c00", "h3", True, True),
    )


def test_frr_21472_a_hundred_moves_leave_nothing_stuck() -> None:
    async def work(world: World) -> None:
        for n in range(100):
            await move(world, "c00", f"h{world.random.randint(1, 3)}", n % 2 == 0, n % 3 == 0)
        await asyncio.sleep(SETTLE)
        await Ending(world).check()

    play(work)


def test_frr_4904_a_move_is_followed_by_all_within_a_fifth_of_a_second() -> None:
    async def work(world: World) -> None:
        container = world.container("c00")
        world.put(container, "h2")
        process = world.hosts["h2"].process
        assert process is not None
        await process.attach(container)
        world.announce(container)
        await until(world, lambda: stands(world, "h3", "c00") and stands(world, "h1", "c00"), 0.2)

    play(work)


def test_weave_2436_local_evidence_outranks_a_stale_remote_row() -> None:
    tell((0.5, "move", "g0", "h3", False, False), (2.0, "move", "g0", "h2", True, False), shape=GUESTS)


def test_antrea_1600_a_switch_that_starts_without_its_store_forwards() -> None:
    async def work(world: World) -> None:
        world.kill_host("h1")
        world.server.hang()
        world.start_host("h1")
        world.put(world.container("c01"), "h1")
        await until(world, lambda: stands(world, "h1", "c00") and stands(world, "h1", "c01"), 3.0)
        before = world.witness.reached
        world.ping(world.container("c00"), world.container("c01"))
        await until(world, lambda: world.witness.reached > before, 0.1)
        world.server.go_on()
        await asyncio.sleep(SETTLE)
        await Ending(world).check()

    play(work)


@pytest.mark.parametrize("store", ["store_down", "store_hang", "store_cut"])
def test_moby_28325_everything_starts_again_at_once(store: str) -> None:
    away = (0.4, store, "h1", 2.0) if store == "store_cut" else (0.4, store, 2.0)
    tell(away, *((0.5 + n / 10, "crash", f"h{n + 1}", 0.5) for n in range(3)))


def test_a_renamed_host_is_reached_at_its_old_address() -> None:
    tell((0.5, "rename", "h3", 0.1))


def test_a_host_that_takes_anothers_place_is_reached() -> None:
    tell((0.5, "replace", "h3", 0.1))


def test_after_a_hang_of_the_store_nobody_is_fenced_by_its_own_late_heartbeat() -> None:
    async def work(world: World) -> None:
        world.server.hang()
        await asyncio.sleep(2 * RULES.lease)
        world.server.go_on()
        for _ in range(200):
            await asyncio.sleep(0.01)
            states = [process.store.status() for process in world.processes]
            assert not any("fenced" in str(status.reason) for status in states)
        assert all(status.state == "up" for status in states)

    play(work)


def test_a_double_that_came_and_went_unheard_leaves_the_owners_row() -> None:
    tell((0.5, "store_down", 0.5), (0.51, "double", "c00", "h3", 0.25))


# -- duplicates, leases, outages -------------------------------------------------------------------------------------


def test_moby_32634_a_mac_at_two_places_is_frozen_costs_others_nothing_and_recovers() -> None:
    async def frozen_meanwhile(world: World) -> None:
        assert world.witness.frozen

    tell((0.5, "double", "c00", "h3", 6.0), then=frozen_meanwhile)


def test_flannel_621_who_was_away_too_long_takes_nothing_back() -> None:
    async def work(world: World) -> None:
        stopped = world.hosts["h1"].process
        assert stopped is not None
        world.calm.begin(calm.host("h1"))
        world.loop.pause(stopped.owner)
        await asyncio.sleep(PAST_GRACE)
        await move(world, "c00", "h2", True, False)
        await asyncio.sleep(1.0)
        rev = world.server.hub.table(5000).truth.rows[world.container("c00").mac].rev
        world.loop.resume(stopped.owner)
        world.calm.end(calm.host("h1"))
        await asyncio.sleep(SETTLE)
        row = world.server.hub.table(5000).truth.rows[world.container("c00").mac]
        assert (row.node, row.rev) == ("h2", rev)
        await Ending(world).check()

    play(work)


def test_flannel_294_the_store_is_down_and_then_its_data_is_lost() -> None:
    tell((0.5, "store_down", 4.0), (2.0, "flush"), (2.5, "move", "c00", "h2", True, True))


def test_flannel_294_the_data_is_lost_and_then_the_store_is_away_longer_than_owners_need() -> None:
    tell((0.5, "flush"), (0.6, "store_hang", RULES.come_back + 1.0), (6.0, "flush"), (6.1, "store_down", 2.5))


def test_flannel_126_outside_the_history_window_nothing_is_removed() -> None:
    tell((0.5, "pause", "h1", 0.8), (0.7, "absent", "c01", 0.1), (1.0, "trim"), (1.2, "store_hang", 1.0), (1.5, "trim"))


def test_oracle_terraform_5_containers_that_start_in_an_outage_work_and_are_claimed_after_it() -> None:
    async def work(world: World) -> None:
        world.server.stop()
        moved: list[Container] = [world.container("c00"), world.container("c01")]
        for container in moved:
            world.put(container, "h3")
        await until(world, lambda: all(stands(world, "h3", c.name) for c in moved), 1.0)
        await asyncio.sleep(2.0)
        world.server.start()
        await asyncio.sleep(SETTLE)
        await Ending(world).check()

    play(work)


def test_weave_1593_what_the_dead_had_is_nobodys() -> None:
    tell((0.5, "die", "h2"), (0.6, "die", "h3"))


def test_for_a_guest_that_went_unseen_its_last_switch_answers_while_that_one_lives() -> None:
    async def work(world: World) -> None:
        guest, asking = world.container("g0"), world.container("c02")
        await die(world, "h2")
        await move(world, "g0", "h2", False, False)
        await asyncio.sleep(BOUND + NOTICED)
        before = world.witness.answers
        world.ask(asking, guest)
        await asyncio.sleep(TICK)
        assert world.witness.answers > before and stands(world, "h1", "c00")
        await die(world, "h1")
        await asyncio.sleep(NOTICED + 0.1)  # suspended: the row is still there
        process = world.process_of(asking)
        assert process is not None and guest.mac in process.switch.fdb.tables[guest.vni].rows
        world.ask(asking, guest)
        await asyncio.sleep(TICK)

    play(work, GUESTS)


def test_n2n_1062_an_unclean_exit_holds_nobody_up() -> None:
    async def work(world: World) -> None:
        world.kill_host("h1")
        await asyncio.sleep(RULES.lease / 4)
        world.start_host("h1")
        peer = world.hosts["h2"].process
        assert peer is not None
        epoch = peer.peers.remotes["h1"].record.epoch
        await until(world, lambda: peer.peers.remotes["h1"].record.epoch > epoch, 0.2)
        await asyncio.sleep(SETTLE)
        await Ending(world).check()

    play(work)
