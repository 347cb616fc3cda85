#!/usr/bin/env python
"""The dashboards, as tables of panels; run it to write dashboards/*.json, which Grafana is provisioned with.

Queries are PromQL; ``$__rate_interval`` is Grafana's, four scrapes or more. What each API process tells alike
of the whole service is taken by ``max``.
"""

from __future__ import annotations

import json
from pathlib import Path

from boards import Board, grafana, lines, mean, number, quantile, rate, stat, table

FOLDER = Path(__file__).resolve().parent / "dashboards"

REQUESTS, CUT = "vitgan_http_requests_total", "vitgan_http_answers_cut_total"
STAGE, ANSWER = "vitgan_worker_stage_seconds", "vitgan_image_answer_seconds"
BROKEN = rate('vitgan_http_requests_total{code=~"5.."}')
BROKEN_OFF = rate('vitgan_http_answers_cut_total{by="service"}')
ORDERS = rate('vitgan_worker_stage_seconds_count{stage="queue"}')

SERVICE = Board(
    "vitgan-service",
    "ViTGAN: service",
    (
        (
            "What a user feels",
            (
                stat("Requests a second", "reqps", f"{rate(REQUESTS)} or vector(0)"),
                stat("Failed", "percentunit",
                     number(f"(({BROKEN} or vector(0)) + {BROKEN_OFF}) / {rate(REQUESTS)}") + " or vector(0)",
                     "the objective is 0.5 % at most"),
                stat("First byte, 95 of 100", "s", quantile(0.95, ANSWER)),
                stat("Images a second", "none", rate("vitgan_images_sent_total")),
                lines("Requests", "reqps", (rate(REQUESTS, "route"), "{{route}}")),
                lines("Time to an image's first byte", "s",
                      *((quantile(q, ANSWER), f"{q:.0%}") for q in (0.5, 0.95, 0.99))),
                lines("Refusals", "reqps", (f"{rate('vitgan_refusals_total', 'reason')} > 0", "{{reason}}"),
                      told="nothing here is good"),
                lines("Whole requests, 95 of 100", "s",
                      (quantile(0.95, "vitgan_http_request_seconds", "route"), "{{route}}"),
                      told="to the last byte, which a slow client takes late", width=12),
                lines("Answers by status", "reqps", (rate(REQUESTS, "code"), "{{code}}"),
                      (rate(CUT, "by"), "cut off by the {{by}}"), width=12),
            ),
        ),
        (
            "Where the time goes",
            (
                lines("Mean time of an order by stage", "s",
                      (number(f"{rate(f'{STAGE}_sum', 'stage')} / scalar({ORDERS})"), "{{stage}}"),
                      told="credit: the client takes its bytes slowly; queue: workers are busy"),
                lines("Stages, 95 of 100", "s", (quantile(0.95, STAGE, "stage"), "{{stage}}")),
                lines("Images of a batch, mean", "none",
                      (mean("vitgan_batch_images"), "sent"), (mean("vitgan_worker_batch_images"), "drawn")),
            ),
        ),
        (
            "Queue and saturation",
            (
                lines("Under way, of the limit", "percentunit",
                      ("max(vitgan_under_way_images / vitgan_under_way_images_limit)", "images"),
                      ("max(vitgan_under_way_pixels / vitgan_under_way_pixels_limit)", "pixels"),
                      ("sum(vitgan_worker_slots_busy) / sum(vitgan_worker_slots)", "slots of workers"),
                      told="at 100 % requests are refused"),
                lines("Waiting", "none", ("sum(vitgan_gathering_images)", "images gathered"),
                      ("sum(vitgan_orders_open)", "orders open"),
                      ("max by (queue) (vitgan_queue_messages)", "messages: {{queue}}")),
                lines("Oldest", "s", ("max(vitgan_orders_oldest_seconds)", "order"),
                      ("max by (kind) (vitgan_jobs_oldest_queued_seconds)", "queued job: {{kind}}")),
                lines("Drawn a second", "none", (rate("vitgan_worker_images_total"), "images, frames too")),
                lines("Pixels a second", "none", (rate("vitgan_image_pixels_sent_total"), "sent"),
                      (rate("vitgan_worker_pixels_total"), "drawn")),
                lines("Bytes a second", "Bps", (rate("vitgan_http_sent_bytes_total"), "bodies of answers")),
                lines("Requests in progress", "none", ("sum(vitgan_http_requests_in_progress)", "requests"),
                      ("sum(vitgan_event_readers)", "readers of events"), width=24),
            ),
        ),
    ),
)  # fmt: skip


def known(name: str) -> str:
    """A gauge of the trainings that run: while none does it is NaN, which no number equals."""
    return f"(vitgan_training_{name} == vitgan_training_{name})"


def of_training(name: str, by: str = "") -> str:
    """The same, of each trainer."""
    return f"max by (instance{by}) {known(name)}"


TRAINING = Board(
    "vitgan-training",
    "ViTGAN: training",
    (
        (
            "The training that runs",
            (
                stat("Done", "percentunit",
                     f"max({known('images_seen')} / {known('images_wanted')})"),
                stat("Time left", "s", f"max{known('eta_seconds')}"),
                stat("Images a second", "none", f"sum{known('images_per_second')}"),
                stat("Looks wrong", "none", f"max{known('warning')}", "1: the job's progress says why"),
            ),
        ),
        (
            "Curves",
            (
                lines("Losses", "none", (of_training("loss", ", part"), "{{part}} {{instance}}"),
                      told="a discriminator that knows nothing has 1.386, its generator 0.693"),
                lines("Answers of the discriminator", "none",
                      (of_training("logit", ", pictures"), "{{pictures}} {{instance}}"),
                      told="the further apart, the surer it is", signed=True),
                lines("Spread between seeds", "percentunit", (of_training("spread_ratio"), "{{instance}}"),
                      told="near 0 every seed is one picture"),
                lines("Distance to the pictures", "none", (of_training("distance"), "{{instance}}"),
                      told="sliced Wasserstein x 1000, at each tick; it should fall"),
                lines("Pictures seen", "none", (of_training("images_seen"), "{{instance}}")),
                lines("Learning rate", "none", (of_training("learning_rate"), "{{instance}}")),
                lines("What the discriminator knows", "percentunit",
                      (of_training("right_ratio"), "right {{instance}}"),
                      (of_training("sign"), "r_t {{instance}}"),
                      told="right: at 50% it guesses, at 100% it has won; r_t: mean sign on real pictures",
                      width=12, signed=True),
                lines("Augmented", "percentunit", (of_training("augmented_ratio"), "{{instance}}"),
                      told="share p of pictures; adaptive: it rises while r_t is above its target", width=12),
            ),
        ),
        (
            "Throughput and device",
            (
                lines("Speed", "none", (of_training("images_per_second"), "{{instance}}")),
                lines("Waiting for pictures", "percentunit", (of_training("data_wait_ratio"), "{{instance}}"),
                      told="high: the disk is the bottleneck"),
                lines("Memory", "bytes", (of_training("memory_bytes"), "{{instance}}"),
                      told="of the GPU at most so far; on a CPU of the process"),
                lines("Silence", "s",
                      (f"time() - {known('report_timestamp_seconds')}", "{{instance}}"),
                      told="since its last report; over ten minutes it has stalled", width=12),
                lines("Claims that ended", "none",
                      ("sum by (outcome) (increase(vitgan_training_ends_total[1h]))", "{{outcome}}"),
                      told="in the last hour", width=12),
            ),
        ),
    ),
    quiet="no training runs",
)  # fmt: skip

FLEET = Board(
    "vitgan-fleet",
    "ViTGAN: fleet",
    (
        (
            "Who is there",
            (
                lines("Workers that beat", "none", ("max by (queue) (vitgan_workers)", "{{queue}}"),
                      ("max by (queue) (vitgan_other_versions)", "other versions of {{queue}}")),
                lines("Jobs", "none", ("max by (kind, state) (vitgan_jobs)", "{{kind}} {{state}}"),
                      ("sum(vitgan_training_running)", "trainings that trainers tell of")),
                lines("Targets", "none", ("sum by (job) (up)", "{{job}}")),
                table("What runs", "vitgan_build_info"),
                table("Models", "max by (model, digest, preset) (vitgan_model_info)"),
            ),
        ),
        (
            "Losses and repairs",
            (
                lines("Repairs in an hour", "none",
                      ("sum(increase(vitgan_leases_expired_total[1h]))", "leases expired"),
                      ("sum(increase(vitgan_doorbells_rung_again_total[1h]))", "doorbells rung again"),
                      ("sum(increase(vitgan_orders_rescued_total[1h]))", "orders rescued"),
                      ("sum(increase(vitgan_images_carried_on_total[1h]))", "images carried on"),
                      told="nothing here is good"),
                lines("Orders of workers", "ops",
                      (rate("vitgan_worker_orders_total", "outcome"), "{{outcome}}")),
                lines("Drawing jobs of workers", "ops",
                      (rate("vitgan_worker_jobs_total", "outcome"), "{{outcome}}")),
                lines("Webhooks", "none",
                      ("sum by (outcome) (increase(vitgan_webhooks_total[1h]))", "{{outcome}}, in an hour"),
                      ("max(vitgan_webhooks_due)", "due"), ("max(vitgan_webhooks_dead)", "dead, kept"),
                      width=12),
                lines("Models in memory", "none", ("vitgan_worker_models_loaded", "{{instance}}"),
                      (rate("vitgan_worker_model_loads_total"), "loads a second"), width=12),
            ),
        ),
        (
            "Redis, disk, processes",
            (
                lines("Redis: memory", "bytes", ("max by (redis) (vitgan_redis_memory_bytes)", "{{redis}}"),
                      ("max by (redis) (vitgan_redis_memory_limit_bytes) > 0", "limit of {{redis}}")),
                lines("Redis: connections", "none", ("max by (redis) (vitgan_redis_clients)", "{{redis}}"),
                      ("min by (redis) (vitgan_redis_up)", "answers: {{redis}}")),
                lines("Disk", "bytes", ("min(vitgan_data_free_bytes)", "free"),
                      ("max(vitgan_data_size_bytes)", "size")),
                lines("Disk: a file can be written", "none", ("min(vitgan_data_writable)", "1: yes, 0: no")),
                lines("Memory of processes", "bytes",
                      ("process_resident_memory_bytes", "{{job}} {{instance}}")),
                lines("CPU of processes", "none",
                      ("rate(process_cpu_seconds_total[$__rate_interval])", "{{job}} {{instance}}"),
                      told="cores"),
            ),
        ),
    ),
)  # fmt: skip

BOARDS = (SERVICE, TRAINING, FLEET)


def files() -> dict[Path, str]:
    """What dashboards/ is to hold."""
    return {
        FOLDER / f"{board.uid.removeprefix('vitgan-')}.json": json.dumps(grafana(board), indent=1) + "\n"
        for board in BOARDS
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
