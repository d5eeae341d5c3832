// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SansIO
import Testing
import WebRTC

@testable import KVSApplications

/// A folder that is there for as long as a test needs it.
struct TemporaryFolder {
  private let url = FileManager.default.temporaryDirectory.appending(path: "kvs-webrtc-\(UUID().uuidString)")

  static func use(_ body: (TemporaryFolder) async throws -> Void) async throws {
    let folder = TemporaryFolder()
    try FileManager.default.createDirectory(at: folder.url, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder.url) }
    try await body(folder)
  }

  func path(_ name: String) -> String { url.appending(path: name).path }

  var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? [] }
}

@Suite("The ready file")
struct ReadyFileTests {
  @Test("It is one line of JSON with sorted keys, and replaces an older one as a whole")
  func content() async throws {
    try await TemporaryFolder.use { folder in
      let path = folder.path("ready.json")
      try ReadyFile.write(["old": String(repeating: "x", count: 10_000)], to: path)
      try ReadyFile.write(["region": "us-west-2", "http": "http://127.0.0.1:8080"], to: path)
      let text = try String(contentsOf: URL(filePath: path), encoding: .utf8)
      #expect(text == #"{"http":"http://127.0.0.1:8080","region":"us-west-2"}"# + "\n")
      #expect(folder.names == ["ready.json"], "nothing temporary stays")
    }
  }

  @Test("Nobody reads half of it")
  func atomicity() async throws {
    try await TemporaryFolder.use { folder in
      let path = folder.path("ready.json")
      try ReadyFile.write(["number": "0"], to: path)
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          for number in 0..<200 { try ReadyFile.write(["number": "\(number)"], to: path) }
        }
        group.addTask {
          for _ in 0..<200 {
            let data = try Data(contentsOf: URL(filePath: path))
            #expect(try JSONDecoder().decode([String: String].self, from: data)["number"] != nil)
            await Task.yield()
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test("A path that cannot be written is one sentence that names the flag")
  func failure() throws {
    let path = "/nowhere/ready.json"
    #expect {
      try ReadyFile.write([:], to: path)
    } throws: { error in
      "\(error)" == "--ready-file \(path) cannot be written: expected a path in a folder that exists"
    }
  }
}

@Suite("The twelve durations")
struct ConnectionMetricsTests {
  @Test("Twelve lines with the names that users know, `-` where a step was not taken")
  func lines() {
    var metrics = ConnectionMetrics()
    metrics[.describeChannel] = .milliseconds(12)
    metrics[.gatherHost] = .zero
    metrics[.handshake] = .microseconds(3_249)
    metrics[.firstFrame] = .nanoseconds(1_000_950_000)
    #expect(
      metrics.lines == [
        "Duration of Describe Signaling Channel: 12.0 ms", "Duration of Get Signaling Endpoints: -",
        "Duration of Get Ice Server List: -", "Duration of Connect Websocket Server: -",
        "Duration of Get Authentication Temporary Credentials: -", "Duration of Join Storage Session: -",
        "Duration of Gather ICE Host Candidate: 0.0 ms", "Duration of Gather ICE Srflx Candidate: -",
        "Duration of Gather ICE Relay Candidate: -", "Duration of Find Peer-To-Peer Connection: -",
        "Duration of DTLS Handshaking: 3.2 ms", "Duration of First Frame: 1001.0 ms",
      ])
  }

  @Test("The text of a viewer has its name on top")
  func text() {
    let lines = ConnectionMetrics().text(ofViewer: "phone").split(separator: "\n")
    #expect(lines.count == 13)
    #expect(lines.first == "Metrics of viewer phone:")
  }
}

@Suite("The demo's greeting")
struct DemoGreetingTests {
  private static func greeting(host: String) throws -> String {
    let addresses = ["127.0.0.1", "192.168.1.20", "2001:db8::20", "fe80::1"]
    let interfaces = try addresses.map {
      NetworkInterface(name: "net", address: try #require(IPAddress($0)))
    }
    return DemoGreeting(origin: "http://127.0.0.1:8080", host: host, port: 8080, interfaces: interfaces).text
  }

  @Test("On loopback it tells the page's address and how to end, and warns of nothing")
  func loopback() throws {
    for host in ["127.0.0.1", "localhost", "::1"] {
      let text = try Self.greeting(host: host)
      #expect(text.contains("    http://127.0.0.1:8080/?channel=demo\n"))
      #expect(text.contains("Ctrl-C"))
      #expect(!text.contains("192.168.1.20") && !text.contains("Careful"))
    }
  }

  @Test("On all addresses it lists those of the family that it listens on, and warns")
  func everywhere() throws {
    let ipv4 = try Self.greeting(host: "0.0.0.0")
    #expect(ipv4.contains("    http://192.168.1.20:8080/?channel=demo\n"))
    #expect(!ipv4.contains("2001:db8") && ipv4.contains("Careful"))
    let both = try Self.greeting(host: "::")
    #expect(both.contains("http://192.168.1.20:8080") && both.contains("http://[2001:db8::20]:8080"))
    #expect(!both.contains("fe80"))
  }

  @Test("On one address of the network it warns, and lists no other")
  func oneAddress() throws {
    let text = try Self.greeting(host: "192.168.1.20")
    #expect(text.contains("Careful") && !text.contains("From other devices"))
  }
}
