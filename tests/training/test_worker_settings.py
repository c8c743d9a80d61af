from kitfox.training.worker_settings import WorkerSettings


def test_a_worker_reads_what_its_server_has_told() -> None:
    settings = WorkerSettings(checkpoints=5, digest_bytes=0)
    assert WorkerSettings.from_environ(settings.environ()) == settings
    assert WorkerSettings.from_environ({}) == WorkerSettings()
