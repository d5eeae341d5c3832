// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// A reference that may travel anywhere and be used on its event loop only.
///
/// Unlike NIO's own boxes it can be made before the loop sees the object; whoever makes it gives the object
/// up.
struct LoopConfined<Object: AnyObject>: @unchecked Sendable {
  let eventLoop: any EventLoop
  private let object: Object

  init(_ object: Object, to eventLoop: any EventLoop) {
    self.object = object
    self.eventLoop = eventLoop
  }

  /// The object. Traps on any other thread than the loop's.
  var value: Object {
    eventLoop.preconditionInEventLoop()
    return object
  }
}
