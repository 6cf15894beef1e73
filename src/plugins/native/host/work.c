/*
 * Threads. A thread that has nothing to do reads the socket, unless another does, and queues the
 * calls that it finds: then it takes the first of them, and another thread reads on. For a plugin
 * that does one thing at a time, there is one thread, and it does all this in turn.
 *
 * To wake a thread takes longer than most callbacks. As long as they have been quick, a thread takes
 * one call after the other without waking anybody, and another only looks now and then whether a
 * callback is not quick after all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "host.h"

enum {
  threads_max = 32,
  /* In nanoseconds: a callback that needs less is quick, */
  quick_max = 15000,
  /* and one that needs more counts as this, so that it is forgotten in time. */
  counted_max = 1000000,
  /* How often it is looked whether somebody is stuck, */
  watch_time = 1000000,
  /* and whether a thread that sleeps must read, as all others are at work. */
  nap_time = 20000000,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* To a thread that rests. */
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
/* To those that sleep. */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* All of these are under the lock. */
static struct call_list queue = {NULL, &queue.first};
static bool parallel, reading, ended;
static unsigned threads = 1, resting, summoned, running;
static bool watch_wanted, watching;
static uint64_t taken;
/* How long callbacks take, of late. */
static int64_t usual_time = counted_max;

static atomic_bool stopping;

static void *worker(void *none) {
  (void)none;
  work();
}

/* Sees to it that one more thread looks for something to do. */
static void summon(void) {
  pthread_t thread;
  if (resting > summoned) {
    summoned++;
    pthread_cond_signal(&wake);
  } else if (threads < threads_max && pthread_create(&thread, NULL, worker, NULL) == 0) {
    pthread_detach(thread);
    threads++;
  }
}

/* A thread is about to call the plugin: others care for the rest. */
static void hand_over(void) {
  if (!parallel || (reading && !queue.first)) return;
  if (usual_time > quick_max) {
    summon();
  } else if (!watching) {
    watch_wanted = true;
    if (resting > 0) pthread_cond_signal(&wake);
    else summon();
  }
}

/* Clears the lock for at most a time. */
static void wait_for(pthread_cond_t *condition, int64_t nanoseconds) {
  int64_t until = now() + nanoseconds;
  struct timespec time = {until / 1000000000, until % 1000000000};
  pthread_cond_clockwait(condition, &lock, CLOCK_MONOTONIC, &time);
}

/* Waits until there is something to do that no other thread does. */
static void rest(void) {
  pthread_mutex_unlock(&lock);
  send_replies();
  pthread_mutex_lock(&lock);
  // Meanwhile there may be something to do, of which nobody told a thread that did not rest yet.
  if (queue.first || (!reading && !ended)) return;
  resting++;
  while (summoned == 0) {
    if (!watch_wanted || watching) {
      pthread_cond_wait(&wake, &lock);
      continue;
    }
    uint64_t before = taken;
    watching = true;
    wait_for(&wake, watch_time);
    watching = false;
    if (taken != before) continue;
    // Either somebody is stuck, or nothing has been asked for some time.
    if (queue.first || !reading) break;
    watch_wanted = false;
  }
  if (summoned > 0) summoned--;
  resting--;
}

static void append(struct call_list *more) {
  if (!more->first) return;
  *queue.end = more->first;
  queue.end = more->end;
}

static void read_more(int64_t deadline) {
  struct call_list calls = {NULL, &calls.first};
  reading = true;
  pthread_mutex_unlock(&lock);
  bool more = read_calls(&calls, deadline);
  if (!more) note_stopping();
  pthread_mutex_lock(&lock);
  reading = false;
  append(&calls);
  if (!more) ended = true;
}

static struct call *take(void) {
  struct call *call = queue.first;
  if (!call) return NULL;
  queue.first = call->next;
  if (!queue.first) queue.end = &queue.first;
  return call;
}

static void perform(struct call *call) {
  bool quick = call->method->quick;
  running++;
  taken++;
  hand_over();
  pthread_mutex_unlock(&lock);
  // Answers do not wait for what may take its time.
  if (!quick) send_replies();
  int64_t start = now();
  answer_call(call);
  int64_t time = now() - start;
  if (!quick || time > quick_max) send_replies();
  pthread_mutex_lock(&lock);
  usual_time += ((time < counted_max ? time : counted_max) - usual_time) / 8;
  running--;
}

_Noreturn void work(void) {
  pthread_mutex_lock(&lock);
  for (;;) {
    struct call *call = take();
    if (call) {
      perform(call);
    } else if (!reading && !ended) {
      read_more(-1);
    } else if (ended && running == 0) {
      send_replies();
      exit(0);
    } else {
      rest();
    }
  }
}

void start_serving(void) {
  pthread_mutex_lock(&lock);
  bool begins = !parallel && thread_model() >= SERIALIZE_REQUESTS;
  if (begins) {
    parallel = true;
    // This thread calls the plugin, and did not hand over, as it was the only one.
    summon();
  }
  pthread_mutex_unlock(&lock);
}

static bool disturbed(void) {
  const struct call *call = current;
  if (stopping || !call) return stopping;
  return call->abandoned || (call->client && call->client->dropped);
}

/* Reads meanwhile, where nobody else does: how else would it hear that it must wake up. */
bool sleep_until(int64_t deadline) {
  send_replies();
  pthread_mutex_lock(&lock);
  int64_t left;
  while (!disturbed() && (left = deadline - now()) > 0) {
    if (current && !reading && !ended) {
      read_more(deadline);
      if (parallel && queue.first) summon();
    } else {
      wait_for(&changed, left < nap_time ? left : nap_time);
    }
  }
  if (current && parallel && !reading) summon();
  pthread_mutex_unlock(&lock);
  return !disturbed();
}

static void wake_sleepers(void) {
  pthread_mutex_lock(&lock);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

void note_stopping(void) {
  stopping = true;
  wake_sleepers();
}

void note_dropped(uint64_t id) {
  drop_client(id);
  wake_sleepers();
}

void note_abandoned(uint64_t tag) {
  abandon_call(tag);
  wake_sleepers();
}
