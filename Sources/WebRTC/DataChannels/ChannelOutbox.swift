// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import NIOCore
  import SCTP
  import Synchronization

  /// The sending half of a data channel, between any number of senders and the event loop.
  ///
  /// ```
  ///    send ──> messages ──take──> queue of the driver ──> core ──> network
  ///      |      '------------ held ------------------'     |
  ///   waiters <──────────────── room ──────────────────────'
  /// ```
  ///
  /// Whatever is handed in between two turns of the loop goes there with one hop. Senders that find more waiting
  /// than the high-water mark wait themselves, in order, and the loop takes their messages when half of it is gone.
  final class ChannelOutbox: Sendable {
    /// Bytes that may wait unless the application says otherwise: what a 1 Gbit/s path takes in 8 ms, longer than
    /// a sending task needs to wake up.
    static let highWaterMarkDefault = 1 << 20
    /// What a message costs beside its bytes while it is held, so that empty ones are not free either.
    static let messageCost = 128

    /// What became of a message that was handed in.
    enum Admission: Equatable {
      /// It will be sent. `needsNotice`: the loop does not know yet that there is something to take.
      case accepted(needsNotice: Bool)
      /// Too much waits.
      case full
      /// It will not be sent.
      case refused(DataChannelError)
    }

    private struct Waiter {
      let ticket: Int
      let message: DataChannelMessage
      /// Resumed with `nil` when the message was taken.
      let continuation: CheckedContinuation<DataChannelError?, Never>
    }

    private struct State {
      var channel: DataChannelState
      var messages: [DataChannelMessage] = []
      /// Messages that were accepted and are not in the core yet, and their bytes.
      var heldCount = 0
      var heldByteCount = 0
      /// Bytes that the core has and did not send yet, when the loop last looked.
      var coreByteCount = 0
      /// Whether the loop was told that there is something to take.
      var isNoticed = false
      /// Whether the application closed the channel.
      var isClosing = false
      var waiters = CircularBuffer<Waiter>()
      var nextTicket = 0
      var highWaterMark = ChannelOutbox.highWaterMarkDefault
      var lowThreshold = 0
      var isAboveThreshold = false

      var bufferedAmount: Int { heldByteCount + coreByteCount }
      var load: Int { bufferedAmount + heldCount * ChannelOutbox.messageCost }

      mutating func accept(_ message: DataChannelMessage) {
        messages.append(message)
        heldCount += 1
        heldByteCount += message.bytes.count
        if bufferedAmount > lowThreshold { isAboveThreshold = true }
      }

      /// Whether the loop has to be told; from here on it is.
      mutating func notice() -> Bool {
        defer { isNoticed = true }
        return !isNoticed
      }

      mutating func takeWaiters() -> CircularBuffer<Waiter> {
        var taken = CircularBuffer<Waiter>()
        swap(&taken, &waiters)
        return taken
      }

      /// Drops what the core has not got.
      mutating func dropHeld() {
        messages = []
        heldCount = 0
        heldByteCount = 0
      }
    }

    /// Where the channel stands. It only ever goes on, whoever is first.
    let states: ValueStream<DataChannelState>
    /// What waits fell to the threshold.
    let bufferedAmountLow: AsyncStream<Void>
    private let lowSink: AsyncStream<Void>.Continuation
    private let state: Mutex<State>

    init(_ channel: DataChannelState) {
      states = ValueStream(channel)
      state = Mutex(State(channel: channel))
      (bufferedAmountLow, lowSink) = AsyncStream.makeStream(
        of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    // MARK: For senders

    /// Bytes that were accepted and are not sent yet.
    var bufferedAmount: Int { state.withLock { $0.bufferedAmount } }

    var highWaterMark: Int {
      get { state.withLock { $0.highWaterMark } }
      set { state.withLock { $0.highWaterMark = max(newValue, 0) } }
    }

    var lowThreshold: Int {
      get { state.withLock { $0.lowThreshold } }
      set {
        state.withLock { state in
          state.lowThreshold = max(newValue, 0)
          state.isAboveThreshold = state.bufferedAmount > state.lowThreshold
        }
      }
    }

    /// Senders that wait; for tests.
    var waiterCount: Int { state.withLock { $0.waiters.count } }

    /// Takes a message if there is room and nobody waits before it.
    func offer(_ message: DataChannelMessage) -> Admission {
      state.withLock { state in
        guard state.channel == .open else { return .refused(.notOpen) }
        guard state.waiters.isEmpty, state.load <= state.highWaterMark else { return .full }
        state.accept(message)
        return .accepted(needsNotice: state.notice())
      }
    }

    /// Waits until the message was taken.
    ///
    /// - Parameter notify: called when the loop has to be told that there is something to take.
    /// - Returns: why it was not taken.
    func wait(toSend message: DataChannelMessage, notify: () -> Void) async -> DataChannelError? {
      let ticket = state.withLock { state in
        defer { state.nextTicket += 1 }
        return state.nextTicket
      }
      return await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          let admission: Admission = state.withLock { state in
            guard state.channel == .open else { return .refused(.notOpen) }
            // A cancellation from here on finds the waiter, an earlier one is seen now.
            guard !Task.isCancelled else { return .refused(.cancelled) }
            guard !state.waiters.isEmpty || state.load > state.highWaterMark else {
              state.accept(message)
              return .accepted(needsNotice: state.notice())
            }
            state.waiters.append(Waiter(ticket: ticket, message: message, continuation: continuation))
            return .full
          }
          switch admission {
          case .full: break
          case .refused(let error): continuation.resume(returning: error)
          case .accepted(let needsNotice):
            if needsNotice { notify() }
            continuation.resume(returning: nil)
          }
        }
      } onCancel: {
        cancel(ticket)
      }
    }

    private func cancel(_ ticket: Int) {
      let waiter: Waiter? = state.withLock { state in
        guard let index = state.waiters.firstIndex(where: { $0.ticket == ticket }) else { return nil }
        return state.waiters.remove(at: index)
      }
      waiter?.continuation.resume(returning: .cancelled)
    }

    /// Accepts no more messages; those that were accepted are sent before the channel closes.
    ///
    /// - Returns: whether the loop has to be told.
    func close() -> Bool {
      let (waiters, needsNotice) = state.withLock { state in
        guard !state.isClosing, state.channel != .closed else { return (CircularBuffer<Waiter>(), false) }
        state.isClosing = true
        advance(&state, to: .closing)
        return (state.takeWaiters(), state.notice())
      }
      for waiter in waiters { waiter.continuation.resume(returning: .notOpen) }
      return needsNotice
    }

    // MARK: For the event loop

    /// Messages may be sent.
    func open() { state.withLock { advance(&$0, to: .open) } }

    /// Moves what was accepted to `messages`, which is empty.
    ///
    /// - Returns: whether the application wants the channel closed after these.
    func take(into messages: inout [DataChannelMessage]) -> Bool {
      state.withLock { state in
        swap(&state.messages, &messages)
        state.isNoticed = false
        return state.isClosing
      }
    }

    /// Notes that messages went into the core and what waits there now; then there may be room for others.
    ///
    /// - Returns: whether messages of waiting senders were accepted; the loop is to take them.
    func note(handedOn count: Int, byteCount: Int, coreByteCount: Int) -> Bool {
      var granted: [CheckedContinuation<DataChannelError?, Never>] = []
      let isLow = state.withLock { state in
        state.heldCount -= count
        state.heldByteCount -= byteCount
        state.coreByteCount = coreByteCount
        let isLow = state.isAboveThreshold && state.bufferedAmount <= state.lowThreshold
        if isLow { state.isAboveThreshold = false }
        guard !state.waiters.isEmpty, state.load <= state.highWaterMark / 2 else { return isLow }
        while state.load <= state.highWaterMark, let waiter = state.waiters.popFirst() {
          state.accept(waiter.message)
          granted.append(waiter.continuation)
        }
        return isLow
      }
      if isLow { lowSink.yield() }
      for continuation in granted { continuation.resume(returning: nil) }
      return !granted.isEmpty
    }

    /// The peer closes: nothing more is sent.
    func peerCloses() { end(.closing) }

    /// The channel is over.
    func finish() {
      end(.closed)
      states.finish(with: .closed)
      lowSink.finish()
    }

    private func end(_ last: DataChannelState) {
      let waiters = state.withLock { state in
        advance(&state, to: last)
        state.dropHeld()
        if last == .closed { state.coreByteCount = 0 }
        return state.takeWaiters()
      }
      for waiter in waiters { waiter.continuation.resume(returning: .notOpen) }
    }

    /// Under the lock, so that readers see the states in their order.
    private func advance(_ state: inout State, to next: DataChannelState) {
      guard next.rank > state.channel.rank else { return }
      state.channel = next
      if next != .closed { states.set(next) }
    }
  }

  extension DataChannelState {
    /// The order in which states follow each other.
    fileprivate var rank: Int {
      switch self {
      case .connecting: 0
      case .open: 1
      case .closing: 2
      case .closed: 3
      }
    }
  }
#endif
