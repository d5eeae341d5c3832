// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO
import WebRTCCore

#if DataChannels
  import SCTP
  import Synchronization

  /// What a data channel and its driver share. It does not lead back to the channel, whose release closes it.
  final class ChannelLink: Sendable {
    let id: DataChannelID
    let parameters: DataChannelParameters
    let outbox: ChannelOutbox
    let inbox = ChannelInbox()
    /// The stream that the channel uses, once it is known.
    let stream = Mutex<StreamID?>(nil)

    init(id: DataChannelID, parameters: DataChannelParameters, state: DataChannelState) {
      self.id = id
      self.parameters = parameters
      outbox = ChannelOutbox(state)
    }

    /// The channel is over: senders are told, readers read what is left.
    func finish() {
      outbox.finish()
      inbox.finish()
    }
  }

  /// The data channels of one connection on their event loop: messages from the outboxes into the core, and from
  /// the core into the inboxes.
  ///
  /// A turn begins with ``takeIn(to:at:)``: the mail is taken, the core gets what it has room for. It ends with
  /// ``settle(with:)``: senders learn what waits now, and those who waited themselves go on.
  struct ChannelTable {
    /// A channel that is not closed.
    private final class Record {
      let link: ChannelLink
      /// Taken out of the outbox; the core has no room yet.
      var queue = CircularBuffer<DataChannelMessage>()
      /// What went into the core since the outbox was told.
      var handedOnCount = 0
      var handedOnByteCount = 0
      /// What the outbox was told last.
      var coreByteCount = 0
      /// Whether it is in ``ChannelTable/pending``.
      var isPending = false
      /// Whether it is in ``ChannelTable/watched``.
      var isWatched = false
      /// Whether it is to be closed when its queue is empty.
      var isClosing = false

      init(_ link: ChannelLink) { self.link = link }
    }

    /// The longest message where the peer bears any: what the core may hold.
    static let messageByteCountMax = SCTPAssociation.Configuration().sendBufferByteCountMax

    /// What applications' threads leave for the loop.
    let mailbox = ChannelMailbox()
    private var records: [DataChannelID: Record] = [:]
    /// Channels with messages for the core, or to be closed, in turn.
    private var pending = CircularBuffer<Record>()
    /// Channels on which something waits to be sent.
    private var watched: [Record] = []
    /// Memory that is exchanged with outboxes.
    private var spare: [DataChannelMessage] = []
    /// Whether there ever was a channel.
    private var isInUse = false

    /// Takes in a channel that the core knows.
    mutating func add(_ link: ChannelLink) {
      isInUse = true
      records[link.id] = Record(link)
    }

    // MARK: Out

    /// Takes what the applications have left and hands the core what it has room for.
    mutating func takeIn(to core: inout PeerConnectionCore, at now: Instant) {
      guard isInUse else { return }
      if let limit = core.remoteMessageByteCountMax {
        mailbox.messageByteCountMax.store(min(limit, Self.messageByteCountMax), ordering: .relaxed)
      }
      let mail = mailbox.take()
      if mail.read.count > 0 {
        core.messagesConsumed(count: mail.read.count, byteCount: mail.read.byteCount, at: now)
      }
      for id in mail.channels {
        if let record = records[id] { collect(record) }
      }
      while let record = pending.first {
        guard handOn(record, to: &core, at: now) else { break }
        record.isPending = false
        pending.removeFirst()
        if record.isClosing { core.closeDataChannel(record.link.id, at: now) }
      }
    }

    private mutating func collect(_ record: Record) {
      if record.link.outbox.take(into: &spare) { record.isClosing = true }
      record.queue.append(contentsOf: spare)
      spare.removeAll(keepingCapacity: true)
      if !record.isPending {
        record.isPending = true
        pending.append(record)
      }
      if !record.isWatched {
        record.isWatched = true
        watched.append(record)
      }
    }

    /// Hands on all that a channel has. Whoever finds the core full keeps its place, so that each gets its turn.
    private func handOn(_ record: Record, to core: inout PeerConnectionCore, at now: Instant) -> Bool {
      while let message = record.queue.first {
        do throws(DataChannelError) {
          try core.send(message, on: record.link.id, at: now)
        } catch {
          if error == .bufferFull { return false }
          // The channel is closing by now: what waits is lost, as it would be in the core.
        }
        record.queue.removeFirst()
        record.handedOnCount += 1
        record.handedOnByteCount += message.bytes.count
      }
      return true
    }

    /// Tells the senders what waits now.
    ///
    /// - Returns: whether that brought more to send.
    mutating func settle(with core: borrowing PeerConnectionCore) -> Bool {
      var hasMore = false
      var index = 0
      while index < watched.count {
        let record = watched[index]
        let coreByteCount = core.bufferedAmount(of: record.link.id)
        if note(coreByteCount, of: record) {
          collect(record)
          hasMore = true
        }
        if coreByteCount == 0, record.queue.isEmpty {
          record.isWatched = false
          watched.swapAt(index, watched.count - 1)
          watched.removeLast()
        } else {
          index += 1
        }
      }
      return hasMore
    }

    private func note(_ coreByteCount: Int, of record: Record) -> Bool {
      guard record.handedOnCount > 0 || record.coreByteCount != coreByteCount else { return false }
      defer {
        record.handedOnCount = 0
        record.handedOnByteCount = 0
        record.coreByteCount = coreByteCount
      }
      return record.link.outbox.note(
        handedOn: record.handedOnCount, byteCount: record.handedOnByteCount, coreByteCount: coreByteCount)
    }

    // MARK: In

    /// Hands a message to its channel.
    ///
    /// - Returns: whether somebody may read it; otherwise the peer's window is to get it back at once.
    func deliver(_ message: DataChannelMessage, to id: DataChannelID) -> Bool {
      records[id]?.link.inbox.deliver(message) ?? false
    }

    /// A channel may be used.
    func opened(_ id: DataChannelID, stream: StreamID?) {
      records[id]?.link.stream.withLock { $0 = stream }
      records[id]?.link.outbox.open()
    }

    /// The peer closes a channel; what waits on our side is lost.
    func closing(_ id: DataChannelID) {
      guard let record = records[id] else { return }
      drop(record)
      record.link.outbox.peerCloses()
    }

    /// A channel is over.
    mutating func closed(_ id: DataChannelID) {
      guard let record = records.removeValue(forKey: id) else { return }
      drop(record)
      record.link.finish()
    }

    private func drop(_ record: Record) {
      record.queue.removeAll()
      record.handedOnCount = 0
      record.handedOnByteCount = 0
    }

    /// The connection is over, and its channels with it.
    mutating func finish() {
      for record in records.values { record.link.finish() }
      records = [:]
      pending = []
      watched = []
    }
  }

  extension PeerDriver {
    /// Makes a data channel, which the peer hears of when the connection stands.
    func createDataChannel(
      _ parameters: DataChannelParameters, at now: Instant
    ) throws(DataChannelError) -> DataChannel {
      dataChannel(try core.createDataChannel(parameters, at: now), parameters)
    }

    /// Makes the application's side of a channel that the core knows.
    func dataChannel(_ id: DataChannelID, _ parameters: DataChannelParameters) -> DataChannel {
      let link = ChannelLink(id: id, parameters: parameters, state: core.dataChannelState(of: id))
      link.stream.withLock { $0 = core.dataChannelStream(of: id) }
      channels.add(link)
      return DataChannel(link, mailbox: channels.mailbox, of: handle)
    }
  }
#else
  /// Without the trait `DataChannels` there are none.
  struct ChannelTable {
    func takeIn(to core: inout PeerConnectionCore, at now: Instant) {}
    func settle(with core: borrowing PeerConnectionCore) -> Bool { false }
    func finish() {}
  }
#endif
