// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import NIOCore
  import SCTP
  import Synchronization

  /// The receiving half of a data channel: messages between the event loop and their reader.
  ///
  /// It needs no limit of its own: what lies here is charged to the window that the peer may fill, until it was
  /// read (``ChannelMailbox`` tells the loop).
  final class ChannelInbox: Sendable {
    /// A message that a reader got.
    struct Taken: Sendable {
      let message: DataChannelMessage
      /// Whether the window still has to be given back what it cost.
      let isCharged: Bool
    }

    private struct State {
      var messages = CircularBuffer<DataChannelMessage>()
      var readers = CircularBuffer<CheckedContinuation<Taken?, Never>>()
      /// Whether no more messages arrive.
      var isFinished = false
      /// Whether nobody is going to read, and what arrives is thrown away.
      var isAbandoned = false
      /// Whether what waits is charged to the window.
      var isCharged = true

      var charge: ReadMessages {
        guard isCharged else { return ReadMessages() }
        return ReadMessages(count: messages.count, byteCount: messages.reduce(0) { $0 + $1.bytes.count })
      }

      mutating func takeReaders() -> CircularBuffer<CheckedContinuation<Taken?, Never>> {
        var taken = CircularBuffer<CheckedContinuation<Taken?, Never>>()
        swap(&taken, &readers)
        return taken
      }
    }

    private let state = Mutex(State())

    // MARK: For the event loop

    /// Hands in a message.
    ///
    /// - Returns: whether somebody may read it; otherwise it is gone.
    func deliver(_ message: DataChannelMessage) -> Bool {
      var reader: CheckedContinuation<Taken?, Never>?
      let isTaken = state.withLock { state in
        guard !state.isAbandoned, !state.isFinished else { return false }
        reader = state.readers.popFirst()
        if reader == nil { state.messages.append(message) }
        return true
      }
      reader?.resume(returning: Taken(message: message, isCharged: true))
      return isTaken
    }

    /// No more messages arrive; those that wait can still be read.
    func finish() {
      let readers = state.withLock { state in
        state.isFinished = true
        return state.takeReaders()
      }
      for reader in readers { reader.resume(returning: nil) }
    }

    // MARK: For the application

    /// Readers that wait; for tests.
    var readerCount: Int { state.withLock { $0.readers.count } }

    /// Takes the next message if there is one.
    func take() -> Taken? {
      state.withLock { state in
        guard let message = state.messages.popFirst() else { return nil }
        return Taken(message: message, isCharged: state.isCharged)
      }
    }

    /// Takes the next message, and waits for it where there is none; `nil` at the end.
    func next() async -> Taken? {
      await withCheckedContinuation { continuation in
        let taken: Taken?? = state.withLock { state in
          if let message = state.messages.popFirst() {
            return Taken(message: message, isCharged: state.isCharged)
          }
          if state.isFinished || state.isAbandoned { return .some(nil) }
          state.readers.append(continuation)
          return nil
        }
        if let taken { continuation.resume(returning: taken) }
      }
    }

    /// The application closed the channel: nothing more is taken in. What waits may still be read, but does not
    /// hold the peer back any longer.
    ///
    /// - Returns: what is to be given back.
    func stopTaking() -> ReadMessages {
      state.withLock { state in
        let charge = state.charge
        state.isCharged = false
        state.isAbandoned = true
        return charge
      }
    }

    /// Nobody is going to read any more.
    ///
    /// - Returns: what is to be given back.
    func abandon() -> ReadMessages {
      let (charge, readers) = state.withLock { state in
        let charge = state.charge
        state.isCharged = false
        state.isAbandoned = true
        state.messages.removeAll()
        return (charge, state.takeReaders())
      }
      for reader in readers { reader.resume(returning: nil) }
      return charge
    }
  }
#endif
