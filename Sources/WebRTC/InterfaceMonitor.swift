// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import NIOPosix

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Notices that the host's interfaces or addresses change: a netlink socket (rtnetlink(7)), read on the event
/// loop.
///
/// What the kernel's messages say is not looked at; that there was one is the signal to enumerate the addresses
/// again. So a message that was lost or cut short, of which the kernel makes no secret, is as good as any other.
/// Confined to the event loop.
final class InterfaceMonitor {
  /// How long it collects messages before it reports: an interface that comes up sends a dozen within some
  /// 100 ms. Counted from the first, so that a stream of messages cannot put the report off for ever.
  static let settlingTime = TimeAmount.milliseconds(250)
  /// The socket breaks when messages come faster than they are read; it is opened again after this time.
  static let reopenTime = TimeAmount.seconds(1)

  private let eventLoop: any EventLoop
  private let logger: Logger
  private let changed: () -> Void
  private var channel: (any Channel)?
  private var isStopped = false
  private var report: Scheduled<Void>?

  /// Calls `changed` some time after each change, from ``start()`` until ``stop()``.
  init(eventLoop: any EventLoop, logger: Logger, changed: @escaping () -> Void) {
    self.eventLoop = eventLoop
    self.logger = logger
    self.changed = changed
  }

  /// Opens the socket. Where the system does not allow it (some sandboxes), nothing is ever noticed.
  func start() {
    eventLoop.preconditionInEventLoop()
    guard !isStopped, channel == nil else { return }
    guard let descriptor = Self.openSocket() else {
      logger.info("changes of network interfaces cannot be followed", metadata: ["errno": "\(errno)"])
      return
    }
    let handler = LoopConfined(Handler(self), to: eventLoop)
    NIOPipeBootstrap(group: eventLoop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(handler.value)
        }
      }
      .takingOwnershipOfDescriptor(input: descriptor)
      .assumeIsolated().whenComplete { result in
        switch result {
        case .success(let channel):
          self.channel = channel
          if self.isStopped { channel.close(promise: nil) }
        case .failure(let error):
          close(descriptor)
          self.logger.info(
            "changes of network interfaces cannot be followed", metadata: ["error": "\(error)"])
        }
      }
  }

  /// Closes the socket; nothing is reported any more.
  func stop() {
    isStopped = true
    report?.cancel()
    report = nil
    channel?.close(promise: nil)
    channel = nil
  }

  /// Has the addresses looked at after a while, unless that is about to happen anyway.
  func reportLater(in delay: TimeAmount = settlingTime) {
    guard !isStopped, report == nil else { return }
    report = eventLoop.assumeIsolated().scheduleTask(in: delay) {
      self.report = nil
      self.changed()
    }
  }

  private func socketClosed() {
    guard !isStopped else { return }
    channel = nil
    reportLater()
    eventLoop.assumeIsolated().scheduleTask(in: Self.reopenTime) { self.start() }
  }

  /// A socket that hears of links and addresses coming, going and changing.
  private static func openSocket() -> CInt? {
    let type = CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(AF_NETLINK, type, NetlinkAddress.route)
    guard descriptor >= 0 else { return nil }
    let status = withUnsafePointer(to: NetlinkAddress()) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<NetlinkAddress>.size))
      }
    }
    guard status == 0 else {
      let reason = errno
      close(descriptor)
      errno = reason
      return nil
    }
    return descriptor
  }

  /// `sockaddr_nl` of linux/netlink.h, whose names Swift does not see.
  private struct NetlinkAddress {
    /// NETLINK_ROUTE.
    static let route: CInt = 0
    var family = sa_family_t(AF_NETLINK)
    var padding: UInt16 = 0
    /// The kernel chooses a number for us.
    var portID: UInt32 = 0
    /// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
    var groups: UInt32 = 0x1 | 0x10 | 0x100
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private weak let monitor: InterfaceMonitor?

    init(_ monitor: InterfaceMonitor) { self.monitor = monitor }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { monitor?.reportLater() }

    func channelInactive(context: ChannelHandlerContext) { monitor?.socketClosed() }

    /// A read that fails closes the channel; the closing alone is acted upon.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
