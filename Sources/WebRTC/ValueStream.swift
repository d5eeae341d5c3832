// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A value that changes: its present state, and a stream of changes for each who asks.
///
/// Written from an event loop, read from anywhere. A reader that falls behind loses the older changes, never
/// the latest.
final class ValueStream<Value: Sendable & Equatable>: Sendable {
  /// Changes that one reader may be behind.
  static var bufferedChangesMax: Int { 16 }

  private struct State {
    var value: Value
    var isFinished = false
    var nextReader = 0
    var readers: [Int: AsyncStream<Value>.Continuation] = [:]
  }

  private let state: Mutex<State>

  init(_ value: Value) { state = Mutex(State(value: value)) }

  /// The present value.
  var current: Value { state.withLock { $0.value } }

  /// The present value and all later ones; ends with the last.
  var changes: AsyncStream<Value> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: Value.self, bufferingPolicy: .bufferingNewest(Self.bufferedChangesMax))
    let reader: Int? = state.withLock { state in
      continuation.yield(state.value)
      guard !state.isFinished else { return nil }
      defer { state.nextReader += 1 }
      state.readers[state.nextReader] = continuation
      return state.nextReader
    }
    guard let reader else {
      continuation.finish()
      return stream
    }
    continuation.onTermination = { [weak self] _ in
      _ = self?.state.withLock { $0.readers.removeValue(forKey: reader) }
    }
    return stream
  }

  /// Sets the value and tells it to all readers, unless it is the same.
  func set(_ value: Value) {
    state.withLock { state in
      guard !state.isFinished, state.value != value else { return }
      state.value = value
      for reader in state.readers.values { reader.yield(value) }
    }
  }

  /// Sets the last value and ends all streams.
  func finish(with last: Value) {
    let readers = state.withLock { state in
      guard !state.isFinished else { return [AsyncStream<Value>.Continuation]() }
      state.isFinished = true
      if state.value != last {
        state.value = last
        for reader in state.readers.values { reader.yield(last) }
      }
      defer { state.readers = [:] }
      return Array(state.readers.values)
    }
    // Outside of the lock: ending a stream calls its termination handler, which takes the lock.
    for reader in readers { reader.finish() }
  }
}
