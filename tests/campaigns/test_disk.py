"""What a failing disk does to a till that sells: nothing new is sold, what runs ends safely, and it heals by itself."""

from __future__ import annotations

import asyncio
import shutil

import pytest

FAULTS = ["full", "read_only", "io_error", "sync_error"]


def out_of_order(stage):
    return stage.panel.kind == "out_of_order" and stage.panel.reason == "store_failed"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_session_ends_safely_and_is_billed_once_the_disk_is_well(staged, fault):
    async def story(stage):
        await stage.charges()
        stage.life.volume.fault = fault
        stage.site.unplug(0)
        await stage.until(lambda: out_of_order(stage), "the screen says nothing")
        assert not stage.site.stands[0].outlet.closed
        stage.site.tap(1)
        stage.site.plug(0, current_a=16, wants_wh=None)
        await asyncio.sleep(60)
        assert out_of_order(stage)
        assert not stage.site.stands[0].outlet.closed
        stage.life.volume.fault = None
        await stage.until(lambda: stage.panel.kind != "out_of_order", "it does not heal")

    trial = staged(story)
    assert (trial.lives, trial.invoices) == (1, 1)


def test_a_car_that_charges_on_is_cut_off_at_the_next_commit_that_fails(staged):
    async def story(stage):
        await stage.charges()
        stage.life.volume.fault = "io_error"
        await stage.life.office.commands._stop_session(stage.controller.state.session.session_id)
        await stage.until(
            lambda: not stage.site.stands[0].outlet.closed, "the contactor stays closed", within_s=15
        )
        await asyncio.sleep(30)
        stage.life.volume.fault = None

    staged(story)


def test_a_database_that_was_deleted_is_noticed_and_sells_again_once_it_is_back(staged):
    async def story(stage):
        await stage.charges()
        database = stage.life.config.database
        stage.life.volume.copy(database.parent.parent / "backup")
        for name in ("till.db", "till.db-wal", "till.db-shm"):
            (database.parent / name).unlink()
        await stage.until(lambda: out_of_order(stage), "nobody notices", within_s=30)
        assert not stage.site.stands[0].outlet.closed
        await asyncio.sleep(30)
        assert out_of_order(stage)
        for name in ("till.db-wal", "till.db"):
            shutil.copy(database.parent.parent / "backup" / name, database.parent / name)
        await stage.until(lambda: stage.panel.kind != "out_of_order", "it does not heal")

    staged(story)
