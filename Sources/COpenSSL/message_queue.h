// SPDX-License-Identifier: Apache-2.0

#ifndef COPENSSL_MESSAGE_QUEUE_H
#define COPENSSL_MESSAGE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

/// A first-in, first-out queue of messages in one piece of memory, which grows by need up to a limit.
typedef struct {
  uint8_t *memory;
  size_t capacity;
  /// Where the oldest message begins, where the next one goes; both 0 when empty.
  size_t head;
  size_t tail;
  size_t bytes_max;
  /// How many messages were refused because the queue was full.
  uint64_t dropped;
} message_queue;

void message_queue_init(message_queue *queue, size_t bytes_max);
void message_queue_free(message_queue *queue);
/// Appends a message, or counts it as dropped.
void message_queue_push(message_queue *queue, const uint8_t *message, size_t bytes);
int message_queue_is_empty(const message_queue *queue);
/// The length of the oldest message; the queue must not be empty.
size_t message_queue_first_bytes(const message_queue *queue);
/// Copies the oldest message out and drops it; the queue must not be empty.
void message_queue_pop(message_queue *queue, uint8_t *message);

#endif
