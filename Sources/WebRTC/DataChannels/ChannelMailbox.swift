// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SCTP
  import Synchronization

  /// Messages that an application read, or that nobody will read: what the peer's window gets back for them.
  struct ReadMessages: Sendable {
    var count = 0
    var byteCount = 0

    /// What a message costs beside its bytes, roughly; only decides when to tell.
    private static let messageCost = 128
    var cost: Int { byteCount + count * Self.messageCost }

    static func += (sum: inout ReadMessages, part: ReadMessages) {
      sum.count += part.count
      sum.byteCount += part.byteCount
    }
  }

  /// What the applications' side of a connection's data channels has for the event loop: which of them have
  /// something to take, and how much was read.
  ///
  /// Between two turns of the loop any number of notices costs one hop.
  final class ChannelMailbox: Sendable {
    /// Read bytes that may wait for some other reason to go to the loop. The window is 1 MiB at least
    /// (all channels' together), so the peer never feels it.
    static let unreportedByteCountMax = 64 << 10

    /// What waits for the loop.
    struct Mail {
      var channels: [DataChannelID] = []
      var read = ReadMessages()
    }

    private struct State {
      var mail = Mail()
      var isPosted = false
    }

    /// The longest message that both sides can bear, as far as it is known.
    let messageByteCountMax = Atomic(Int.max)
    private let state = Mutex(State())

    /// A channel has something to take.
    ///
    /// - Returns: whether the loop has to be called.
    func add(_ channel: DataChannelID) -> Bool {
      state.withLock { state in
        state.mail.channels.append(channel)
        defer { state.isPosted = true }
        return !state.isPosted
      }
    }

    /// Messages were read.
    ///
    /// - Returns: whether the loop has to be called.
    func add(_ read: ReadMessages) -> Bool {
      state.withLock { state in
        state.mail.read += read
        guard !state.isPosted, state.mail.read.cost >= Self.unreportedByteCountMax else { return false }
        state.isPosted = true
        return true
      }
    }

    /// Takes all there is; on the loop.
    func take() -> Mail {
      state.withLock { state in
        var mail = Mail()
        swap(&mail, &state.mail)
        state.isPosted = false
        return mail
      }
    }
  }
#endif
