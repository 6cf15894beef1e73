/* The functions of a plugin that concern a client, and the server. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "host.h"

EXPORT const char *nbdkit_export_name(void);
EXPORT int nbdkit_is_tls(void);
EXPORT int nbdkit_peer_name(struct sockaddr *addr, socklen_t *addrlen);
EXPORT int64_t nbdkit_peer_pid(void);
EXPORT int64_t nbdkit_peer_uid(void);
EXPORT int64_t nbdkit_peer_gid(void);
EXPORT char *nbdkit_peer_security_context(void);
EXPORT char *nbdkit_peer_tls_dn(void);
EXPORT char *nbdkit_peer_tls_issuer_dn(void);
EXPORT int nbdkit_nanosleep(unsigned sec, unsigned nsec);
EXPORT void nbdkit_shutdown(void);
EXPORT void nbdkit_disconnect(int force);
EXPORT int nbdkit_use_default_export(struct nbdkit_exports *exports);

static struct client *need_client(const char *function) {
  struct client *client = current ? current->client : NULL;
  if (!client) {
    nbdkit_error("%s: no connection in this thread", function);
    errno = EINVAL;
  }
  return client;
}

const char *nbdkit_export_name(void) {
  const struct client *client = need_client("nbdkit_export_name");
  return client ? client->export_name : NULL;
}

int nbdkit_is_tls(void) {
  const struct client *client = need_client("nbdkit_is_tls");
  return client ? client->tls : -1;
}

/* Copies an address, as far as there is room. */
static int give_address(const void *address, socklen_t length, struct sockaddr *to,
                        socklen_t *room) {
  memcpy(to, address, length < *room ? length : *room);
  *room = length;
  return 0;
}

/* PEER is `unix:PID:UID:GID`, `tcp:PORT:ADDRESS`, or `stream`. */
int nbdkit_peer_name(struct sockaddr *addr, socklen_t *addrlen) {
  const struct client *client = need_client("nbdkit_peer_name");
  if (!client) return -1;
  const char *peer = client->peer;
  if (strncmp(peer, "unix:", 5) == 0) {
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    return give_address(&local, offsetof(struct sockaddr_un, sun_path), addr, addrlen);
  }
  if (strncmp(peer, "tcp:", 4) == 0) {
    char *end;
    in_port_t port = htons(strtoul(peer + 4, &end, 10));
    const char *address = *end == ':' ? end + 1 : end;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
      return give_address(&v4, sizeof v4, addr, addrlen);
    // What follows a `%` is the name of an interface.
    struct text plain = {0};
    text_print(&plain, "%.*s", (int)strcspn(address, "%"), address);
    int valid = inet_pton(AF_INET6, plain.at, &v6.sin6_addr);
    free(plain.at);
    if (valid == 1) return give_address(&v6, sizeof v6, addr, addrlen);
  }
  nbdkit_error("nbdkit_peer_name: the address of the client is not known");
  errno = ENOTSOCK;
  return -1;
}

/* The number at a place of `unix:PID:UID:GID`. */
static int64_t peer_number(const char *function, unsigned place) {
  const struct client *client = need_client(function);
  if (!client) return -1;
  const char *at = client->peer;
  if (strncmp(at, "unix:", 5) == 0) {
    for (; at && place > 0; place--) {
      at = strchr(at, ':');
      if (at) at++;
    }
    char *end;
    int64_t number = at ? strtoll(at, &end, 10) : 0;
    if (at && end != at) return number;
  }
  nbdkit_error("%s: it is known of clients of a Unix domain socket only", function);
  errno = ENOTSUP;
  return -1;
}

int64_t nbdkit_peer_pid(void) {
  return peer_number("nbdkit_peer_pid", 1);
}

int64_t nbdkit_peer_uid(void) {
  return peer_number("nbdkit_peer_uid", 2);
}

int64_t nbdkit_peer_gid(void) {
  return peer_number("nbdkit_peer_gid", 3);
}

char *nbdkit_peer_security_context(void) {
  nbdkit_error("nbdkit_peer_security_context: it is not supported");
  errno = ENOTSUP;
  return NULL;
}

/* No name is known of any client. */
char *nbdkit_peer_tls_dn(void) {
  return strdup("");
}

char *nbdkit_peer_tls_issuer_dn(void) {
  return strdup("");
}

int nbdkit_nanosleep(unsigned sec, unsigned nsec) {
  if (sec > INT_MAX || nsec > INT_MAX) {
    nbdkit_error("nbdkit_nanosleep: sleep request is too long");
    errno = EINVAL;
    return -1;
  }
  if (sleep_until(now() + sec * INT64_C(1000000000) + nsec)) return 0;
  nbdkit_error("nbdkit_nanosleep: aborting sleep because of shutdown or disconnection");
  // Also for a plugin whose errno does not count: it gives up because of this, if it does.
  nbdkit_set_error(ESHUTDOWN);
  errno = ESHUTDOWN;
  return -1;
}

void nbdkit_shutdown(void) {
  send_line("shutdown", NULL);
}

void nbdkit_disconnect(int force) {
  struct client *client = current ? current->client : NULL;
  if (!client || !client->handle) {
    nbdkit_debug("nbdkit_disconnect: no connection in this thread");
    return;
  }
  client->disconnected = true;
  struct text line = {0};
  text_print(&line, "%" PRIu64 " %s", client->id, force ? "force" : "soft");
  send_line("disconnect", line.at);
  free(line.at);
}

int nbdkit_use_default_export(struct nbdkit_exports *exports) {
  const struct client *client = need_client("nbdkit_use_default_export");
  if (!client) return -1;
  const char *name = "";
  if (plugin.default_export) name = plugin.default_export(client->readonly, client->tls);
  // Where there is none, there is nothing to list.
  return name ? nbdkit_add_export(exports, name, NULL) : 0;
}
