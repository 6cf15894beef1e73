/* Clients, by their handles, and the strings that live as long as they do. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum { buckets = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct client *clients[buckets];
static uint64_t last_id;
/* Calls of clients that have no handle yet. */
static struct call *connecting;
/* Those of no client. */
static struct intern *process_interns;

struct client *add_client(const struct client *like) {
  struct client *client = allocate(NULL, sizeof *client);
  memset(client, 0, sizeof *client);
  client->handle = like->handle;
  client->size = -1;
  client->export_name = strdup(like->export_name);
  client->peer = strdup(like->peer);
  client->readonly = like->readonly;
  client->tls = like->tls;
  client->interns = like->interns;
  pthread_mutex_lock(&lock);
  client->id = ++last_id;
  struct client **bucket = &clients[client->id % buckets];
  client->next = *bucket;
  *bucket = client;
  pthread_mutex_unlock(&lock);
  return client;
}

/* The lock is held. */
static struct client *look_up(uint64_t id) {
  struct client *client = clients[id % buckets];
  while (client && client->id != id) client = client->next;
  return client;
}

struct client *find_client(uint64_t id) {
  pthread_mutex_lock(&lock);
  struct client *client = look_up(id);
  pthread_mutex_unlock(&lock);
  return client;
}

void drop_client(uint64_t id) {
  // It could be removed at any time, and so it is marked while it cannot be.
  pthread_mutex_lock(&lock);
  struct client *client = look_up(id);
  if (client) client->dropped = true;
  pthread_mutex_unlock(&lock);
}

void add_connecting(struct call *call) {
  pthread_mutex_lock(&lock);
  call->next_connecting = connecting;
  connecting = call;
  pthread_mutex_unlock(&lock);
}

void remove_connecting(struct call *call) {
  pthread_mutex_lock(&lock);
  struct call **link = &connecting;
  while (*link != call) link = &(*link)->next_connecting;
  *link = call->next_connecting;
  pthread_mutex_unlock(&lock);
}

void abandon_call(uint64_t tag) {
  // It could be answered at any time, and so it is marked while it cannot be forgotten.
  pthread_mutex_lock(&lock);
  for (struct call *call = connecting; call; call = call->next_connecting)
    if (call->tag == tag) call->abandoned = true;
  pthread_mutex_unlock(&lock);
}

void remove_client(struct client *client) {
  pthread_mutex_lock(&lock);
  struct client **link = &clients[client->id % buckets];
  while (*link != client) link = &(*link)->next;
  *link = client->next;
  pthread_mutex_unlock(&lock);
  free_interns(&client->interns);
  free((char *)client->export_name);
  free((char *)client->peer);
  free(client);
}

void free_interns(struct intern **list) {
  while (*list) {
    struct intern *string = *list;
    *list = string->next;
    free(string);
  }
}

const char *intern(const char *text, size_t length) {
  struct intern *string = allocate(NULL, sizeof *string + length + 1);
  memcpy(string->text, text, length);
  string->text[length] = 0;
  struct client *client = current ? current->client : NULL;
  struct intern **list = client ? &client->interns : &process_interns;
  // Several threads may serve one client.
  pthread_mutex_lock(&lock);
  string->next = *list;
  *list = string;
  pthread_mutex_unlock(&lock);
  return string->text;
}
