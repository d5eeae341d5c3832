// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SCTP
  import Testing

  @testable import WebRTC

  @Suite("ChannelOutbox: senders and the loop", .timeLimit(.minutes(1)))
  struct ChannelOutboxTests {
    private let hundred = DataChannelMessage([UInt8](repeating: 1, count: 100))

    private func makeOutbox(highWaterMark: Int = 1000) -> ChannelOutbox {
      let outbox = ChannelOutbox(.open)
      outbox.highWaterMark = highWaterMark
      return outbox
    }

    private func take(_ outbox: ChannelOutbox) -> (messages: [DataChannelMessage], isClosing: Bool) {
      var messages: [DataChannelMessage] = []
      let isClosing = outbox.take(into: &messages)
      return (messages, isClosing)
    }

    @Test("the loop is told once of all messages until it took them")
    func notices() {
      let outbox = makeOutbox()
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
      #expect(outbox.offer(hundred) == .accepted(needsNotice: false))
      #expect(outbox.bufferedAmount == 200)
      #expect(take(outbox).messages == [hundred, hundred])
      #expect(outbox.bufferedAmount == 200)
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
      #expect(take(outbox).messages == [hundred])
    }

    @Test("messages are accepted until more than the high-water mark waits, empty ones too")
    func fills() {
      let outbox = makeOutbox()
      var accepted = 0
      while case .accepted = outbox.offer(DataChannelMessage([])), accepted < 1000 { accepted += 1 }
      #expect(accepted == 1000 / ChannelOutbox.messageCost + 1)
      #expect(outbox.offer(hundred) == .full)
      _ = take(outbox)
      #expect(outbox.offer(hundred) == .full)
      #expect(!outbox.note(handedOn: accepted, byteCount: 0, coreByteCount: 1001))
      #expect(outbox.offer(hundred) == .full)
      #expect(!outbox.note(handedOn: 0, byteCount: 0, coreByteCount: 1000))
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
    }

    /// Starts senders one after the other, each when the one before waits.
    private func startSenders(_ count: Int, on outbox: ChannelOutbox) async -> [Task<
      DataChannelError?, Never
    >] {
      var senders: [Task<DataChannelError?, Never>] = []
      for number in 0..<count {
        let message = DataChannelMessage([UInt8(number)] + [UInt8](repeating: 0, count: 299))
        senders.append(Task { await outbox.wait(toSend: message, notify: {}) })
        while outbox.waiterCount < number + 1 { await Task.yield() }
      }
      return senders
    }

    @Test("senders that wait are served in order when half of the mark is free, and nobody overtakes them")
    func order() async {
      let outbox = makeOutbox(highWaterMark: 0)
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
      let senders = await startSenders(5, on: outbox)
      outbox.highWaterMark = 1000
      #expect(outbox.offer(hundred) == .full)
      #expect(take(outbox).messages == [hundred])
      #expect(!outbox.note(handedOn: 1, byteCount: 100, coreByteCount: 501))
      let isGranted = outbox.note(handedOn: 0, byteCount: 0, coreByteCount: 500)
      #expect(isGranted)
      // 500 bytes and the first message's 428, then the second's.
      #expect(take(outbox).messages.map { $0.bytes[0] } == [0, 1])
      let (first, second) = (await senders[0].value, await senders[1].value)
      #expect(first == nil)
      #expect(second == nil)
      let isRestGranted = outbox.note(handedOn: 2, byteCount: 600, coreByteCount: 0)
      #expect(isRestGranted)
      #expect(take(outbox).messages.map { $0.bytes[0] } == [2, 3, 4])
      for sender in senders[2...] { #expect(await sender.value == nil) }
    }

    @Test("a sender that is cancelled while it waits, or before, sends nothing; the others keep their order")
    func cancels() async {
      let outbox = makeOutbox(highWaterMark: 0)
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
      let senders = await startSenders(3, on: outbox)
      senders[1].cancel()
      #expect(await senders[1].value == .cancelled)
      let late = Task {
        while !Task.isCancelled { await Task.yield() }
        return await outbox.wait(toSend: DataChannelMessage([9]), notify: {})
      }
      late.cancel()
      #expect(await late.value == .cancelled)
      _ = take(outbox)
      outbox.highWaterMark = 1000
      #expect(outbox.note(handedOn: 1, byteCount: 100, coreByteCount: 0))
      #expect(take(outbox).messages.map { $0.bytes[0] } == [0, 2])
      #expect(await senders[0].value == nil)
      #expect(await senders[2].value == nil)
    }

    @Test("closing turns waiting senders away and keeps what was accepted; the end drops it")
    func closes() async {
      let outbox = makeOutbox(highWaterMark: 0)
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
      let senders = await startSenders(2, on: outbox)
      let needsNotice = outbox.close()
      #expect(!needsNotice, "the loop was told of the message already")
      for sender in senders { #expect(await sender.value == .notOpen) }
      #expect(outbox.offer(hundred) == .refused(.notOpen))
      #expect(outbox.states.current == .closing)
      outbox.open()
      #expect(outbox.states.current == .closing)
      let taken = take(outbox)
      #expect(taken.isClosing)
      #expect(taken.messages == [hundred])
      outbox.finish()
      #expect(outbox.states.current == .closed)
      #expect(outbox.bufferedAmount == 0)
      let isTold = outbox.close()
      #expect(!isTold)
    }

    @Test("the threshold is told once each time that what waits falls to it")
    func low() async {
      let outbox = makeOutbox()
      outbox.lowThreshold = 50
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
      _ = take(outbox)
      _ = outbox.note(handedOn: 1, byteCount: 100, coreByteCount: 51)
      _ = outbox.note(handedOn: 0, byteCount: 0, coreByteCount: 50)
      _ = outbox.note(handedOn: 0, byteCount: 0, coreByteCount: 0)
      var count = 0
      for await _ in outbox.bufferedAmountLow.prefix(1) { count += 1 }
      #expect(outbox.offer(hundred) == .accepted(needsNotice: true))
      _ = outbox.note(handedOn: 1, byteCount: 100, coreByteCount: 0)
      outbox.finish()
      for await _ in outbox.bufferedAmountLow { count += 1 }
      #expect(count == 2)
    }
  }

  @Suite("ChannelInbox and ChannelMailbox: the loop and the reader", .timeLimit(.minutes(1)))
  struct ChannelInboxTests {
    @Test("messages come in order, those that wait also after the end")
    func order() async {
      let inbox = ChannelInbox()
      let early = Task { await inbox.next()?.message.text }
      while inbox.readerCount == 0 { await Task.yield() }
      for text in ["a", "b", "c"] {
        let isTaken = inbox.deliver(DataChannelMessage(text: text))
        #expect(isTaken)
      }
      #expect(await early.value == "a")
      inbox.finish()
      let isTaken = inbox.deliver(DataChannelMessage(text: "d"))
      #expect(!isTaken)
      var read: [String?] = []
      while let taken = await inbox.next() {
        read.append(taken.message.text)
        #expect(taken.isCharged)
      }
      #expect(read == ["b", "c"])
    }

    @Test("what nobody will read is given back at once, and once")
    func abandons() async {
      let inbox = ChannelInbox()
      for size in [10, 20, 30] { _ = inbox.deliver(DataChannelMessage([UInt8](repeating: 0, count: size))) }
      let stopped = inbox.stopTaking()
      #expect(stopped.count == 3)
      #expect(stopped.byteCount == 60)
      let first = await inbox.next()
      #expect(first?.isCharged == false)
      let abandoned = inbox.abandon()
      #expect(abandoned.count == 0)
      let next = await inbox.next()
      #expect(next == nil)
      let isTaken = inbox.deliver(DataChannelMessage([1]))
      #expect(!isTaken)
    }

    @Test("reading calls the loop once for much, and goes along with other mail")
    func credits() {
      let mailbox = ChannelMailbox()
      let half = ReadMessages(count: 1, byteCount: ChannelMailbox.unreportedByteCountMax / 2)
      var calls = [mailbox.add(half), mailbox.add(half), mailbox.add(half)]
      #expect(calls == [false, true, false])
      var mail = mailbox.take()
      #expect(mail.read.count == 3)
      #expect(mail.read.byteCount == 3 * half.byteCount)
      calls = [
        mailbox.add(half), mailbox.add(DataChannelID(rawValue: 1)), mailbox.add(DataChannelID(rawValue: 2)),
      ]
      #expect(calls == [false, true, false])
      mail = mailbox.take()
      #expect(mail.read.count == 1)
      #expect(mail.channels.map(\.rawValue) == [1, 2])
    }
  }
#endif
