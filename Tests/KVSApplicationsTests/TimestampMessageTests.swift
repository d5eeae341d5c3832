// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import KVSApplications

@Suite("The time-stamp messages of AWS' JavaScript test page")
struct TimestampMessageTests {
  private static func text(
    content: String = "Opened data channel by viewer", _ times: [String], order: [Int] = [0, 1, 2, 3, 4]
  ) -> String {
    let names = [
      "firstMessageFromViewerTs", "firstMessageFromMasterTs", "secondMessageFromViewerTs",
      "secondMessageFromMasterTs", "lastMessageFromViewerTs",
    ]
    let members = order.map { #""\#(names[$0])":"\#(times[$0])""# }
    return "{" + ([#""content":"\#(content)""#] + members).joined(separator: ",") + "}"
  }

  private static func parse(_ text: String) -> TimestampMessage? {
    TimestampMessage(parsing: Array(text.utf8))
  }

  @Test(
    "The page's five times are filled in turn, the master's two by us; the last one asks for the timeline")
  func flow() throws {
    // The page adds its times to what the master sent, and changes the remark.
    let first = try #require(Self.parse(Self.text(["1700000000000", "", "", "", ""])))
    guard case .stamped(let second) = first.answer(unixMilliseconds: 1_700_000_000_007) else {
      Issue.record("the first message is not stamped")
      return
    }
    let remark = "This message is from the KVS Master"
    #expect(
      second.text == Self.text(content: remark, ["1700000000000", "1700000000007", "", "", ""]))
    let third = try #require(
      Self.parse(
        Self.text(
          content: "Message from JS viewer", ["1700000000000", "1700000000007", "1700000000015", "", ""]))
    )
    guard case .stamped(let fourth) = third.answer(unixMilliseconds: 1_700_000_000_022) else {
      Issue.record("the third message is not stamped")
      return
    }
    #expect(
      fourth.text
        == Self.text(
          content: remark, ["1700000000000", "1700000000007", "1700000000015", "1700000000022", ""]))
    let fifth = try #require(
      Self.parse(
        Self.text(["1700000000000", "1700000000007", "1700000000015", "1700000000022", "1700000000030"])))
    #expect(fifth.answer(unixMilliseconds: 1_700_000_000_031) == .timeline)
  }

  @Test("Members may come in any order, the later ones may be missing, and others are passed over")
  func tolerance() {
    let turned = Self.parse(Self.text(["1", "2", "3", "", ""], order: [4, 2, 0, 3, 1]))
    #expect(turned == Self.parse(Self.text(["1", "2", "3", "", ""])) && turned != nil)
    #expect(Self.parse(#"{"firstMessageFromViewerTs":"1"}"#) == Self.parse(Self.text(["1", "", "", "", ""])))
    #expect(Self.parse(#"{ "other": [1, {"a": null}], "firstMessageFromViewerTs" : "1" }"#) != nil)
    #expect(Self.parse(#"{"firstMessageFromViewerTs":"1","lastMessageFromViewerTs":null}"#) != nil)
  }

  @Test("A program that gives all messages back gets no third time, and no endless answers")
  func echo() throws {
    var message = try #require(Self.parse(Self.text(["1", "", "", "", ""])))
    var answers = 0
    while case .stamped(let next) = message.answer(unixMilliseconds: 2), answers < 10 {
      answers += 1
      message = try #require(Self.parse(next.text))
    }
    #expect(answers == 1)
    let full = try #require(Self.parse(Self.text(["1", "2", "3", "4", ""])))
    #expect(full.answer(unixMilliseconds: 5) == .none)
  }

  @Test(
    "Anything else is a text like others",
    arguments: [
      "", "{", "{}", "[]", "null", "hello", "\"firstMessageFromViewerTs\"",
      #"{"firstMessageFromViewerTs":""}"#,
      #"{"firstMessageFromViewerTs":1700000000000}"#, #"{"firstMessageFromViewerTs":null}"#,
      #"{"firstMessageFromViewerTs":["1"]}"#, #"{"firstMessageFromViewerTs":"1"} x"#,
      #"{"firstMessageFromViewerTs":"1","content":5}"#, #"{"firstMessageFromViewerTs":"-1"}"#,
      #"{"firstMessageFromViewerTs":"1.5"}"#, #"{"firstMessageFromViewerTs":"١"}"#,
      #"{"firstMessageFromViewerTs":"12345678901234567"}"#, #"{"firstMessageFromViewerTs":"1\"}"#,
      #"{"firstMessageFromViewerTs":"1","firstMessageFromMasterTs":"\",\"x\":\""}"#,
      #"{"firstMessageFromViewerTs":"1","secondMessageFromViewerTs":true}"#,
      #" {"firstMessageFromViewerTs":"1"}"#,
    ])
  func others(text: String) {
    #expect(Self.parse(text) == nil)
  }

  @Test("Neither depth nor length nor bytes that are no text harm")
  func hostile() {
    for depth in [10, 400, 1000] {
      let nested = #"{"a":"# + String(repeating: "[", count: depth)
      #expect(Self.parse(nested) == nil)
      #expect(Self.parse(nested + String(repeating: "]", count: depth) + "}") == nil)
    }
    let fit = #"{"firstMessageFromViewerTs":"1","x":""#
    let padding = TimestampMessage.byteCountMax - fit.utf8.count - 2
    #expect(Self.parse(fit + String(repeating: "a", count: padding) + "\"}") != nil)
    #expect(Self.parse(fit + String(repeating: "a", count: padding + 1) + "\"}") == nil)
    #expect(TimestampMessage(parsing: [UInt8(ascii: "{"), 0xff, 0xfe, UInt8(ascii: "}")]) == nil)
    #expect(
      TimestampMessage(parsing: Array(#"{"firstMessageFromViewerTs":"1","x":""#.utf8) + [0xff, 0x22, 0x7d])
        == nil)
    // Every beginning of a good one.
    let good = Array(Self.text(["1", "2", "", "", ""]).utf8)
    for count in 0..<good.count { #expect(TimestampMessage(parsing: good.prefix(count)) == nil) }
  }
}

@Suite("The timeline that AWS' JavaScript test page draws")
struct ConnectionTimelineTests {
  private static func milliseconds(_ count: Int64) -> Instant { .zero + .milliseconds(count) }

  private static func messages(_ timeline: ConnectionTimeline) -> [String] {
    timeline.messages { 1_700_000_000_000 + $0.nanoseconds / 1_000_000 }
  }

  @Test("Three messages: signaling first, then the connection, then the candidates")
  func messages() {
    var timeline = ConnectionTimeline()
    timeline.note(.signaling, from: Self.milliseconds(1))
    timeline.note(.describeChannel, from: Self.milliseconds(1), to: Self.milliseconds(12))
    timeline.note(.endpoints, from: Self.milliseconds(12), to: Self.milliseconds(20))
    timeline.note(.iceServers, from: Self.milliseconds(20), to: Self.milliseconds(30))
    timeline.note(.webSocket, from: Self.milliseconds(30), to: Self.milliseconds(50))
    timeline.end(.signaling, at: Self.milliseconds(50))
    timeline.note(.answer, from: Self.milliseconds(100), to: Self.milliseconds(104))
    timeline.note(.peerConnection, from: Self.milliseconds(101))
    timeline.end(.peerConnection, at: Self.milliseconds(130))
    timeline.note(.gathering, from: Self.milliseconds(101))
    #expect(
      Self.messages(timeline) == [
        #"{"signalingStartTime":1700000000001,"signalingEndTime":1700000000050,"#
          + #""offerReceiptTime":1700000000100,"sendAnswerTime":1700000000104,"#
          + #""describeChannelStartTime":1700000000001,"describeChannelEndTime":1700000000012,"#
          + #""getSignalingChannelEndpointStartTime":1700000000012,"#
          + #""getSignalingChannelEndpointEndTime":1700000000020,"#
          + #""getIceServerConfigStartTime":1700000000020,"getIceServerConfigEndTime":1700000000030,"#
          + #""getTokenStartTime":0,"getTokenEndTime":0,"createChannelStartTime":0,"createChannelEndTime":0,"#
          + #""connectStartTime":1700000000030,"connectEndTime":1700000000050}"#,
        #"{"peerConnectionStartTime":1700000000101,"peerConnectionEndTime":1700000000130}"#,
        #"{"candidateGatheringStartTime":1700000000101,"candidateGatheringEndTime":0}"#,
      ])
  }

  @Test("What a reconnection repeats does not change how the first connection came about")
  func firstOnes() {
    var timeline = ConnectionTimeline()
    timeline.note(.webSocket, from: Self.milliseconds(1), to: Self.milliseconds(2))
    timeline.note(.webSocket, from: Self.milliseconds(7), to: Self.milliseconds(8))
    timeline.note(.signaling, from: Self.milliseconds(1))
    timeline.end(.signaling, at: Self.milliseconds(2))
    timeline.end(.signaling, at: Self.milliseconds(8))
    timeline.end(.gathering, at: Self.milliseconds(9))
    #expect(timeline[.webSocket] == .init(start: Self.milliseconds(1), end: Self.milliseconds(2)))
    #expect(timeline[.signaling]?.end == Self.milliseconds(2))
    #expect(timeline[.gathering] == nil, "what did not begin does not end")
  }
}
