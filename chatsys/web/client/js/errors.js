// Errors of requests to the server.

/** The server refused an HTTP request, or gave no answer. */
export class ApiError extends Error {
  /** `status` is 0 if no answer came. `errors` names each refused field. */
  constructor(message, status = 0, errors = []) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

/** An event got no acknowledgement: the connection was lost, or the time is up. */
export class NoAnswer extends Error {}
