// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import NIOSSL
import SansIO

#if canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Opens the ports of a TURN server.
struct TURNPortOpener {
  /// How often a number is looked for that is free for UDP and TCP.
  private static let attemptsMax = 8

  /// Closes a connection that was accepted beyond the limits.
  private struct TooManyConnections: Error {}

  let loop: any EventLoop
  let state: NIOLoopBound<TURNServerState>
  let host: IPAddress
  /// Whether a port in use may be replaced by a free one.
  let mayUseOtherPorts: Bool

  /// Opens one number for TCP and, on each of the addresses, for UDP.
  func openSharedPort(_ wanted: Int, datagramAddresses: [IPAddress]) async throws -> any Channel {
    var port = wanted
    var attempts = 0
    while true {
      attempts += 1
      do {
        let listener = try await listen(on: port, context: nil)
        do {
          try await openDatagramPorts(listener.localAddress?.port ?? port, on: datagramAddresses)
          return listener
        } catch {
          try? await listener.close().get()
          throw error
        }
      } catch {
        let canTryAnother = wanted == 0 || mayUseOtherPorts
        guard Self.isInUse(error), canTryAnother, attempts < Self.attemptsMax else {
          throw failure(error, port: wanted, flag: "--turn-port")
        }
        port = 0
      }
    }
  }

  /// Opens the port for TLS.
  func openTLSPort(_ wanted: Int, _ context: NIOSSLContext) async throws -> any Channel {
    do {
      return try await listen(on: wanted, context: context)
    } catch {
      guard Self.isInUse(error), mayUseOtherPorts, wanted != 0 else {
        throw failure(error, port: wanted, flag: "--turn-tls-port")
      }
      return try await openTLSPort(0, context)
    }
  }

  private func openDatagramPorts(_ port: Int, on addresses: [IPAddress]) async throws {
    guard let port = UInt16(exactly: port) else { throw LocalServerError.invalidPort(port) }
    try await loop.submit { [state] in
      do {
        for ip in addresses {
          _ = try state.value.openPort(TransportAddress(ip: ip, port: port))
        }
      } catch {
        state.value.closePorts()
        throw error
      }
    }.get()
  }

  private func listen(on port: Int, context: NIOSSLContext?) async throws -> any Channel {
    let high = TURNServerState.Limits.unsentByteCountMax
    return try await ServerBootstrap(group: loop)
      .serverChannelOption(.backlog, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.writeBufferWaterMark, value: .init(low: high / 2, high: high))
      .childChannelInitializer { [state] channel in
        channel.eventLoop.makeCompletedFuture {
          guard let handler = state.value.open(channel) else { throw TooManyConnections() }
          if let context {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
          }
          try channel.pipeline.syncOperations.addHandler(handler)
        }
      }
      .bind(host: host.description, port: port).get()
  }

  private static func isInUse(_ error: any Error) -> Bool { code(of: error) == EADDRINUSE }

  private static func code(of error: any Error) -> CInt? {
    (error as? IOError)?.errnoCode ?? (error as? DatagramPort.Failure)?.code
  }

  private func failure(_ error: any Error, port: Int, flag: String) -> LocalServerError {
    switch Self.code(of: error) {
    case EADDRINUSE: .relayPortInUse(host: "\(host)", port: port, flag: flag)
    case EACCES: .relayPortNotPermitted(port: port, flag: flag)
    case EADDRNOTAVAIL: .hostNotAvailable(host: "\(host)")
    default: .cannotRelay(reason: "\(error)")
    }
  }
}
