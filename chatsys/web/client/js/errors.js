// What can go wrong on the way to the server.

/** The server refused an HTTP request, or gave no answer. */
export class ApiError extends Error {
  /** `status` is 0 where no answer came. `errors` names each field that was refused. */
  constructor(message, status = 0, errors = []) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

/** An event got no acknowledgement: the connection was lost, or the time is up. */
export class NoAnswer extends Error {}
