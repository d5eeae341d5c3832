// SPDX-License-Identifier: Apache-2.0

#if DataChannels
  import SCTP
  import SansIO
  import Testing
  import WebRTCCore
  import WebRTCTesting

  @Suite("Data channels of whole connections")
  struct DataConnectionTests {
    @Test("A connection of data channels alone carries messages both ways")
    func dataOnly() throws {
      let call = try DataCall(seed: 500)
      let id = try call.caller.core.createDataChannel(DataChannelParameters(label: "chat"), at: call.run.now)
      let isConnected = try call.connect()
      #expect(isConnected)
      let other = try #require(call.callee.openChannels.first)
      try call.caller.core.send(DataChannelMessage(text: "hello"), on: id, at: call.run.now)
      try call.callee.core.send(DataCall.message(1, byteCount: 200_000), on: other, at: call.run.now)
      call.run.run(atMost: .seconds(2))
      #expect(call.callee.messages(on: other) == [Array("hello".utf8)])
      #expect(call.caller.messages(on: id) == [DataCall.bytes(1, byteCount: 200_000)])
      call.caller.core.close(at: call.run.now)
      call.run.run(atMost: .seconds(1))
      #expect(call.callee.closedChannels == [other])
      #expect(call.caller.closedChannels == [id])
      #expect(call.callee.connectionState == .closed)
    }
  }
#endif
