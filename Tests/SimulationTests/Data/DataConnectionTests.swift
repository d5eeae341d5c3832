// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import DTLS
  import SCTP
  import SDP
  import SansIO
  import Testing
  import WebRTCCore
  import WebRTCTesting

  /// Goal: channels open, carry and close over whole connections, whatever else the connection does.
  @Suite("Data channels of whole connections")
  struct DataConnectionTests {
    private let chat = DataChannelParameters(label: "chat", subprotocol: "text.v1")

    @Test("A connection of data channels alone carries messages both ways")
    func dataOnly() throws {
      let call = try DataCall(seed: 500)
      let id = try call.caller.core.createDataChannel(chat, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      let other = try #require(call.callee.openChannels.first)
      let added = call.callee.events.compactMap { event -> DataChannelParameters? in
        if case .dataChannelAdded(_, let parameters) = event { parameters } else { nil }
      }
      #expect(added == [chat])
      try call.caller.core.send(DataChannelMessage(text: "hello"), on: id, at: call.run.now)
      try call.caller.core.send(DataChannelMessage(text: ""), on: id, at: call.run.now)
      try call.callee.core.send(DataCall.message(1, byteCount: 200_000), on: other, at: call.run.now)
      call.run.run(atMost: .seconds(2))
      #expect(call.callee.messages.map(\.message) == [.init(text: "hello"), .init(text: "")])
      #expect(call.caller.messages(on: id) == [DataCall.bytes(1, byteCount: 200_000)])
      let streams = [
        call.caller.core.dataChannelStream(of: id), call.callee.core.dataChannelStream(of: other),
      ]
      // The caller is the DTLS client, for answers are passive: even streams are its own.
      #expect(streams == [StreamID(rawValue: 0), StreamID(rawValue: 0)])
    }

    @Test("Beside media: neither waits for the other, and nothing of either is lost")
    func besideMedia() throws {
      let call = try Call(seed: 501)
      let id = try call.master.core.createDataChannel(chat, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      try call.run.negotiate(answererOffers: true)
      call.run.run(atMost: .seconds(5)) { !$0.offerer.openChannels.isEmpty }
      let start = call.run.now
      call.sendMedia(pictures: 50, byteCount: 20_000)
      for number in 0..<100 {
        try call.master.core.send(DataCall.message(number, byteCount: 100_000), on: id, at: call.run.now)
      }
      let isDone = call.run.run(atMost: .seconds(2)) { $0.offerer.messages.count == 100 }
      #expect(isDone)
      #expect(call.viewer.messages.map { DataCall.number(of: $0.message.bytes) } == Array(0..<100))
      #expect(call.viewer.messages.allSatisfy { DataCall.isWhole($0.message.bytes) })
      call.run.run(atMost: .seconds(3))
      #expect(call.viewer.frames(of: call.viewerVideo).count == 50)
      let audio = call.viewer.frames.filter { $0.transceiver == call.viewerAudio }
      #expect(audio.count == 100)
      for (number, packet) in audio.enumerated() {
        let delay = packet.arrival - start - .milliseconds(Int64(20 * number))
        #expect(delay <= .milliseconds(12), "packet \(number)")
      }
    }

    @Test("A peer that knows no SRTP is welcome where there is no media, and refused where there is")
    func withoutSRTP() throws {
      for hasMedia in [false, true] {
        for callerKnowsIt in [false, true] {
          let weak = try DTLSContext(simulationSeed: 7, negotiatesSRTP: false)
          let weaken = { (configuration: inout PeerConnectionCore.Configuration) in
            configuration.dtls = weak
            configuration.certificate = try weak.makeCertificate()
          }
          let call = try DataCall(
            seed: 502, configureCaller: { if !callerKnowsIt { try? weaken(&$0) } },
            configureCallee: { if callerKnowsIt { try? weaken(&$0) } })
          if hasMedia {
            _ = call.caller.core.addTransceiver(.audio, Call.audio(.recvonly))
            _ = call.callee.core.addTransceiver(.audio, Call.audio(.sendonly))
          }
          _ = try call.caller.core.createDataChannel(chat, at: call.run.now)
          let isConnected = try call.connect(within: .seconds(10))
          #expect(isConnected == !hasMedia)
          let cipher = call.caller.core.statistics(at: call.run.now).transport.srtpCipher
          #expect(cipher == nil)
          guard !hasMedia else {
            #expect(call.caller.connectionState == .failed || call.callee.connectionState == .failed)
            continue
          }
          // Media that is wanted later finds no keys, and is refused.
          _ = call.caller.core.addTransceiver(.audio, Call.audio(.recvonly))
          _ = call.callee.core.addTransceiver(.audio, Call.audio(.sendonly))
          try call.run.negotiate()
          call.run.run(atMost: .seconds(1))
          let media = call.caller.core.negotiatedMedia(of: .init(rawValue: 0))
          #expect(media?.isRejected == true)
          #expect(call.run.isConnected && call.caller.closedChannels.isEmpty)
        }
      }
    }

    @Test("Channels that a later exchange adds open in the connection that stands, at once")
    func addedLater() throws {
      let call = try Call(seed: 503)
      let isConnected = try call.connect()
      #expect(isConnected)
      call.sendMedia(pictures: 50)
      call.run.run(atMost: .seconds(1))
      call.run.negotiatesAgain = true
      let id = try call.master.core.createDataChannel(chat, at: call.run.now)
      let askedAt = call.run.now
      let isOpen = call.run.run(atMost: .seconds(5)) { !$0.offerer.openChannels.isEmpty }
      #expect(isOpen)
      // Offer and answer take 20 ms each way, SCTP two round trips of 20 ms, OPEN another half. The answerer's first
      // packet comes before its answer and is not looked at, which costs nothing.
      #expect(call.run.now - askedAt <= .milliseconds(150))
      let drops = call.master.core.statistics(at: call.run.now).transport.drops
      #expect(drops["dataBeforeAgreement"] == 1)
      try call.master.core.send(DataChannelMessage(text: "late"), on: id, at: call.run.now)
      call.run.run(atMost: .seconds(3))
      #expect(call.viewer.messages.map(\.message) == [.init(text: "late")])
      #expect(call.viewer.frames(of: call.viewerVideo).count == 50)
      #expect(call.run.negotiationError == nil)
    }

    @Test("An exchange that refuses the section ends the channels; a later one brings new ones")
    func removedAndBack() throws {
      let call = try DataCall(seed: 504)
      _ = call.caller.core.addTransceiver(.audio, Call.audio(.recvonly))
      _ = call.callee.core.addTransceiver(.audio, Call.audio(.sendonly))
      let id = try call.caller.core.createDataChannel(chat, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      let other = try #require(call.callee.openChannels.first)
      // Somebody between takes the section out of the exchange.
      let refusing = { (sdp: String) in
        sdp.replacing("m=application 9", with: "m=application 0").replacing("BUNDLE 0 1", with: "BUNDLE 0")
      }
      try call.run.negotiate(alteringOffer: refusing, alteringAnswer: refusing)
      call.run.run(atMost: .seconds(1))
      #expect(call.caller.closedChannels == [id] && call.callee.closedChannels == [other])
      #expect(call.run.isConnected && call.run.negotiationError == nil)
      #expect(call.caller.sctpEnds.count == 1 && call.callee.sctpEnds.count == 1)
      let next = try call.caller.core.createDataChannel(chat, at: call.run.now)
      #expect(next != id)
      try call.run.negotiate()
      let isBack = call.run.run(atMost: .seconds(5)) { $0.answerer.openChannels.count == 2 }
      #expect(isBack)
      try call.caller.core.send(DataChannelMessage(text: "again"), on: next, at: call.run.now)
      call.run.run(atMost: .seconds(1))
      #expect(call.callee.messages.map(\.message) == [.init(text: "again")])
      let counts = call.callee.core.statistics(at: call.run.now).peerConnection
      #expect(counts.dataChannelsOpened == 2 && counts.dataChannelsClosed == 1)
    }

    @Test("T11: application data that nobody agreed on is counted and goes nowhere")
    func dataWithoutAgreement() throws {
      let peer = try HostilePeer(seed: 505) { core in
        _ = core.addTransceiver(.audio, Call.audio(.recvonly))
      }
      let isConnected = try peer.connect()
      #expect(isConnected)
      let events = peer.victim.events.count
      for count in [1, 12, 1000] {
        try peer.sendApplicationData([UInt8](repeating: 0x13, count: count))
      }
      #expect(peer.victim.core.dropCounters[.dataBeforeAgreement] == 3)
      #expect(peer.victim.events.count == events)
      #expect(peer.victim.connectionState == .connected)
    }

    @Test("Whoever closes first: what waits is delivered, both sides are told, the stream serves again")
    func closesChannels() throws {
      for isCaller in [true, false] {
        let call = try DataCall(seed: 506)
        let id = try call.caller.core.createDataChannel(chat, at: call.run.now)
        let isConnected = try call.connect()
        #expect(isConnected)
        let other = try #require(call.callee.openChannels.first)
        let (first, last) = isCaller ? (call.caller, call.callee) : (call.callee, call.caller)
        let (firstID, lastID) = isCaller ? (id, other) : (other, id)
        for number in 0..<10 {
          try first.core.send(DataCall.message(number, byteCount: 50_000), on: firstID, at: call.run.now)
        }
        first.core.closeDataChannel(firstID, at: call.run.now)
        #expect(throws: DataChannelError.notOpen) {
          try first.core.send(DataChannelMessage(text: "late"), on: firstID, at: call.run.now)
        }
        call.run.run(atMost: .seconds(5))
        #expect(last.messages(on: lastID).count == 10)
        #expect(first.closedChannels == [firstID] && last.closedChannels == [lastID])
        _ = try call.caller.core.createDataChannel(chat, at: call.run.now)
        call.run.run(atMost: .seconds(1))
        let again = try #require(call.callee.openChannels.last)
        let stream = call.callee.core.dataChannelStream(of: again)
        #expect(again != other && stream == StreamID(rawValue: 0))
      }
    }

    @Test("Closing the connection ends the channels of both sides, whoever closes", arguments: [true, false])
    func closesConnection(callerCloses: Bool) throws {
      let call = try DataCall(seed: 507)
      let id = try call.caller.core.createDataChannel(chat, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      let other = try #require(call.callee.openChannels.first)
      let (leaver, left) = callerCloses ? (call.caller, call.callee) : (call.callee, call.caller)
      leaver.core.close(at: call.run.now)
      call.run.run(atMost: .milliseconds(15))
      #expect(call.caller.closedChannels == [id] && call.callee.closedChannels == [other])
      #expect(left.connectionState == .closed)
      // SCTP's word came before DTLS' own.
      #expect(left.sctpEnds == [.abortedByPeer(.userInitiated)])
      #expect(leaver.sctpEnds == [.aborted(.userInitiated)])
      let deadline = left.core.nextDeadline
      #expect(deadline == nil)
    }

    @Test("Messages that are not read hold the peer; reading lets it go on, and nothing is lost")
    func unreadMessages() throws {
      let call = try DataCall(seed: 508)
      let id = try call.caller.core.createDataChannel(chat, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      call.callee.readsMessages = false
      let count = 200
      for number in 0..<count {
        try call.caller.core.send(DataCall.message(number, byteCount: 65_000), on: id, at: call.run.now)
      }
      call.run.run(atMost: .seconds(30))
      let held = call.callee.messages.count
      // The window is 8 MiB at most.
      #expect(held < 8 * 1024 * 1024 / 65_000 + 1)
      call.run.run(atMost: .seconds(120))
      #expect(call.callee.messages.count == held)
      #expect(call.run.isConnected && call.caller.closedChannels.isEmpty)
      let waiting = call.caller.core.bufferedAmount(of: id)
      #expect(waiting > 0)
      let readAt = call.run.now
      call.callee.readsMessages = true
      call.callee.readMessages(at: call.run.now)
      let isDone = call.run.run(atMost: .seconds(10)) { _ in call.callee.messages.count == count }
      #expect(isDone)
      // The window's news is sent at once, not found out by a probe.
      let next = call.callee.messages[held].arrival
      #expect(next - readAt <= .milliseconds(50))
      #expect(call.callee.messages.map { DataCall.number(of: $0.message.bytes) } == Array(0..<count))
    }

    @Test("Statistics have W3C's names and the right numbers")
    func statistics() throws {
      let call = try DataCall(seed: 509)
      let before = call.caller.core.statistics(at: call.run.now)
      #expect(before.sctpTransport == nil && before.dataChannels.isEmpty)
      let id = try call.caller.core.createDataChannel(chat, at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      for number in 0..<3 {
        try call.caller.core.send(DataCall.message(number, byteCount: 5000), on: id, at: call.run.now)
      }
      call.run.run(atMost: .seconds(1))
      let (sent, got) = (
        call.caller.core.statistics(at: call.run.now), call.callee.core.statistics(at: call.run.now)
      )
      let (mine, its) = (try #require(sent.dataChannels.first), try #require(got.dataChannels.first))
      #expect(mine.label == "chat" && mine.protocol == "text.v1" && mine.state == "open")
      #expect(mine.dataChannelIdentifier == 0 && its.dataChannelIdentifier == 0)
      #expect(mine.messagesSent == 3 && mine.bytesSent == 15_000 && mine.messagesReceived == 0)
      #expect(its.messagesReceived == 3 && its.bytesReceived == 15_000 && its.messagesSent == 0)
      #expect(sent.peerConnection.dataChannelsOpened == 1 && sent.peerConnection.dataChannelsClosed == 0)
      let transport = try #require(sent.sctpTransport)
      let roundTrip = try #require(transport.smoothedRoundTripTime)
      #expect(roundTrip >= 0.020 && roundTrip < 0.1)
      #expect(transport.mtu == 1160 && transport.unackData == 0 && transport.congestionWindow > 1160)
      #expect(transport.receiverWindow > 100_000)
      call.caller.core.closeDataChannel(id, at: call.run.now)
      call.run.run(atMost: .seconds(1))
      let after = call.callee.core.statistics(at: call.run.now)
      #expect(after.dataChannels.isEmpty && after.peerConnection.dataChannelsClosed == 1)
    }
  }
#endif
