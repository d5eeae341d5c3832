// SPDX-License-Identifier: Apache-2.0

#include "message_queue.h"

#include <stdlib.h>
#include <string.h>

/// Each message is preceded by its length.
enum { PREFIX_BYTES = sizeof(uint32_t), CAPACITY_MIN = 2048 };

void message_queue_init(message_queue *queue, size_t bytes_max) {
  memset(queue, 0, sizeof *queue);
  queue->bytes_max = bytes_max;
}

void message_queue_free(message_queue *queue) {
  free(queue->memory);
  queue->memory = NULL;
}

static int reserve(message_queue *queue, size_t bytes) {
  if (queue->capacity - queue->tail >= bytes) return 1;
  size_t used = queue->tail - queue->head;
  if (queue->head > 0) {
    memmove(queue->memory, queue->memory + queue->head, used);
    queue->head = 0;
    queue->tail = used;
    if (queue->capacity - used >= bytes) return 1;
  }
  size_t capacity = queue->capacity < CAPACITY_MIN ? CAPACITY_MIN : queue->capacity;
  while (capacity - used < bytes) capacity *= 2;
  uint8_t *memory = realloc(queue->memory, capacity);
  if (memory == NULL) return 0;
  queue->memory = memory;
  queue->capacity = capacity;
  return 1;
}

void message_queue_push(message_queue *queue, const uint8_t *message, size_t bytes) {
  size_t used = queue->tail - queue->head;
  size_t needed = PREFIX_BYTES + bytes;
  if (bytes > UINT32_MAX || needed > queue->bytes_max - used || !reserve(queue, needed)) {
    queue->dropped++;
    return;
  }
  uint32_t prefix = (uint32_t)bytes;
  memcpy(queue->memory + queue->tail, &prefix, PREFIX_BYTES);
  memcpy(queue->memory + queue->tail + PREFIX_BYTES, message, bytes);
  queue->tail += needed;
}

int message_queue_is_empty(const message_queue *queue) { return queue->head == queue->tail; }

size_t message_queue_first_bytes(const message_queue *queue) {
  uint32_t prefix = 0;
  memcpy(&prefix, queue->memory + queue->head, PREFIX_BYTES);
  return prefix;
}

void message_queue_pop(message_queue *queue, uint8_t *message) {
  size_t bytes = message_queue_first_bytes(queue);
  memcpy(message, queue->memory + queue->head + PREFIX_BYTES, bytes);
  queue->head += PREFIX_BYTES + bytes;
  if (queue->head == queue->tail) queue->head = queue->tail = 0;
}
