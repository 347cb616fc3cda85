// Asking the service: what it refuses becomes an error, and the key that it may want is kept by this tab alone.

const $ = (id) => document.getElementById(id);
const key = () => sessionStorage.getItem('key');

export const refusal = (detail, field) => Object.assign(new Error(detail), { field });

export const unlessAborted = (detail) => (error) =>
  Promise.reject(error.name === 'AbortError' ? error : refusal(detail));

export async function get(url, { headers, ...options } = {}) {
  const used = key();
  const sent = used ? { ...headers, Authorization: `Bearer ${used}` } : headers;
  const answer = await fetch(url, { ...options, headers: sent }).catch(unlessAborted('The service does not answer.'));
  if (!answer.ok) throw await refusalFrom(answer, used);
  return answer;
}

async function refusalFrom(answer, used) {
  const problem = await answer.json().catch(() => ({}));
  const detail = problem.detail || problem.title || `The service answered ${answer.status}.`;
  if (answer.status === 401 || answer.status === 403) {
    // A late refusal of the key before says nothing of the one that has been given since.
    if (used === key()) $('access').hidden = false;
    return refusal(detail, 'key');
  }
  const [named] = /^(seed|resolution|truncation|model)\b/.exec(detail) ?? [];
  if (answer.status === 404) return refusal(detail, 'model');
  return refusal(detail, named === 'resolution' ? 'size' : named);
}

export const curlKey = () => (key() ? ' -H "Authorization: Bearer $VITGAN_KEY"' : '');

export function whenKeyGiven(act) {
  $('access').addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem('key', $('key').value.replace(/[^!-~]/g, '')); // what a header may hold
    $('key').value = '';
    $('access').hidden = true;
    act();
  });
}
