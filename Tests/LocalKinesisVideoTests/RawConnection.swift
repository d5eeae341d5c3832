// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix

/// A TCP connection whose bytes the tests write and read themselves, to send what no well-behaved client would.
struct RawConnection {
  /// A WebSocket frame from the server.
  struct Frame: Equatable {
    var opcode: UInt8
    var payload: [UInt8]

    /// The code of a close frame.
    var closeCode: Int? {
      opcode == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil
    }
    var text: String { String(decoding: payload, as: UTF8.self) }
  }

  /// An answer of the server.
  struct Response {
    var status: Int
    var headers: [String: String]
    var body: String
  }

  private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
  private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
  private var received: [UInt8] = []

  /// Connects, lets `body` talk, and closes.
  static func open<Result>(
    port: Int, _ body: (inout RawConnection) async throws -> Result
  ) async throws -> Result {
    let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      var connection = RawConnection(inbound: inbound.makeAsyncIterator(), outbound: outbound)
      return try await body(&connection)
    }
  }

  mutating func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }
  mutating func send(_ bytes: [UInt8]) async throws { try await outbound.write(ByteBuffer(bytes: bytes)) }

  /// Reads one HTTP answer, without a body if it is to a HEAD; `nil` when the server closed the connection before it.
  mutating func readResponse(toHead: Bool = false) async throws -> Response? {
    var end: Int?
    while end == nil {
      end = received.indices.first { received[$0...].starts(with: Array("\r\n\r\n".utf8)) }
      if end == nil, try await !readMore() { return nil }
    }
    let lines = String(decoding: received[..<(end ?? 0)], as: UTF8.self).split(separator: "\r\n")
    received.removeFirst((end ?? 0) + 4)
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { headers[parts[0].lowercased()] = String(parts[1].dropFirst()) }
    }
    let length = toHead ? 0 : Int(headers["content-length"] ?? "0") ?? 0
    while received.count < length { guard try await readMore() else { return nil } }
    let body = String(decoding: received.prefix(length), as: UTF8.self)
    received.removeFirst(length)
    let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return Response(status: status, headers: headers, body: body)
  }

  /// Reads one WebSocket frame; `nil` when the server closed the connection before it.
  mutating func readFrame() async throws -> Frame? {
    while received.count < 2 { guard try await readMore() else { return nil } }
    var length = Int(received[1] & 0x7f)
    var headerLength = 2
    if length == 126 {
      headerLength = 4
      while received.count < 4 { guard try await readMore() else { return nil } }
      length = Int(received[2]) << 8 | Int(received[3])
    }
    while received.count < headerLength + length { guard try await readMore() else { return nil } }
    let frame = Frame(
      opcode: received[0] & 0x0f, payload: Array(received[headerLength..<(headerLength + length)]))
    received.removeFirst(headerLength + length)
    return frame
  }

  /// Reads until the server closes the connection.
  mutating func readToEnd() async throws { while try await readMore() {} }

  private mutating func readMore() async throws -> Bool {
    do {
      guard let buffer = try await inbound.next(isolation: #isolation) else { return false }
      received += buffer.readableBytesView
      return true
    } catch let error as IOError where error.errnoCode == 104 {
      // A reset: the server closed while bytes of ours were on their way.
      return false
    }
  }

  /// The bytes of a client's WebSocket frame; the flags are what tests get wrong.
  static func frame(
    _ opcode: UInt8, _ payload: [UInt8], isLast: Bool = true, reservedBits: UInt8 = 0, isMasked: Bool = true
  ) -> [UInt8] {
    var bytes: [UInt8] = [(isLast ? 0x80 : 0) | reservedBits << 4 | opcode]
    let mask: UInt8 = isMasked ? 0x80 : 0
    switch payload.count {
    case 0..<126: bytes.append(mask | UInt8(payload.count))
    case 126..<65_536: bytes += [mask | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
    default:
      bytes.append(mask | 127)
      for shift in stride(from: 56, through: 0, by: -8) {
        bytes.append(UInt8(truncatingIfNeeded: UInt64(payload.count) >> UInt64(shift)))
      }
    }
    guard isMasked else { return bytes + payload }
    let key: [UInt8] = [0x12, 0x34, 0x56, 0x78]
    return bytes + key + payload.enumerated().map { $0.element ^ key[$0.offset % 4] }
  }
}
